/**
 * Checks how the rooms of src and native-bindings lean on each other, with TypeScript's own reading of imports:
 *
 *   main, cli → embedded → broker → roles, upkeep, ownership, volumes, shard → requests, coordinator → log → stream → store,
 *   metadata → ports
 *
 * The rules stand in the tables of layering-rules.ts. Prints every violation and ends with 1 if there is one:
 *
 *     npm run build && node dist/tools/layering.js [--rooms]
 *
 * With --rooms it prints a table of rooms with their sizes and doors first.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import {
  type Allowance,
  ambientExceptions,
  builtinRooms,
  entryFiles,
  forbiddenCalls,
  forbiddenObjects,
  packageImporters,
  roleRooms,
  rooms,
  sharedMemoryNames,
  sizes,
} from './layering-rules.ts';

export interface Violation {
  /** Name of the rule, as the tests plant it. */
  readonly rule: string;
  /** Path from the root, with slashes. */
  readonly file: string;
  readonly message: string;
}

interface Import {
  /** Path from the root, or the name of a package or builtin. */
  readonly target: string;
  readonly relative: boolean;
  readonly typesOnly: boolean;
}

interface SourceFacts {
  readonly path: string;
  readonly room: string;
  readonly imports: readonly Import[];
  readonly source: ts.SourceFile;
}

/** The room of a file: a folder of src, the thread roles apart, or null where no room is. */
export function roomOf(path: string): string | null {
  if (path.startsWith('native-bindings/')) return 'native-bindings';
  const [top, room, role] = path.split('/');
  if (top !== 'src' || room === undefined) return null;
  if (!path.slice('src/'.length).includes('/')) return room === 'main.ts' ? 'main' : null;
  if (room === 'threads' && role === 'adapters') return 'adapters';
  if (room === 'threads' && role !== undefined && roleRooms.includes(role)) return 'roles';
  return room;
}

function listSources(root: string): string[] {
  return ['src', 'native-bindings']
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true }).map(
        (name) => `${folder}/${String(name).replaceAll('\\', '/')}`,
      ),
    )
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
    .sort();
}

/** Module names that a file imports for types alone. A name also imported for values is not among them. */
function typeOnlyImports(source: ts.SourceFile): ReadonlySet<string> {
  const types = new Set<string>();
  const values = new Set<string>();
  for (const statement of source.statements) {
    if (ts.isImportDeclaration(statement) && ts.isStringLiteral(statement.moduleSpecifier)) {
      const clause = statement.importClause;
      const named = clause?.namedBindings;
      const allTypes =
        clause !== undefined &&
        (clause.isTypeOnly ||
          (clause.name === undefined &&
            named !== undefined &&
            ts.isNamedImports(named) &&
            named.elements.every((e) => e.isTypeOnly)));
      (allTypes ? types : values).add(statement.moduleSpecifier.text);
    } else if (ts.isExportDeclaration(statement) && statement.moduleSpecifier !== undefined) {
      (statement.isTypeOnly ? types : values).add((statement.moduleSpecifier as ts.StringLiteral).text);
    }
  }
  return new Set([...types].filter((name) => !values.has(name)));
}

function readSource(root: string, path: string): SourceFacts {
  const text = readFileSync(join(root, path), 'utf8');
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  const types = typeOnlyImports(source);
  // Also finds import(), require() and import types, which the statements alone do not show.
  const { importedFiles } = ts.preProcessFile(text, true, true);
  const imports = importedFiles.map(({ fileName }) => ({
    target: fileName.startsWith('.') ? posix.join(posix.dirname(path), fileName) : fileName,
    relative: fileName.startsWith('.'),
    typesOnly: types.has(fileName),
  }));
  return { path, room: roomOf(path) ?? '', imports, source };
}

function allowed(allowances: readonly Allowance[], target: string, typesOnly: boolean): boolean {
  return allowances.some((entry) => entry === target || (typesOnly && entry === `types of ${target}`));
}

function packageName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function checkImports(facts: SourceFacts, report: (rule: string, message: string) => void): void {
  const { path, room, imports } = facts;
  for (const { target, relative, typesOnly } of imports) {
    if (target.startsWith('node:')) {
      const name = target.slice('node:'.length);
      const where = builtinRooms[name];
      if (where === undefined) report('builtin', `imports ${target}, which no room is given`);
      else if (!typesOnly && !where.some((place) => place === room || path.startsWith(place))) {
        report('builtin', `imports ${target}, which is for ${where.join(', ')}`);
      }
      continue;
    }
    const targetRoom = roomOf(target);
    if (!relative) {
      const name = packageName(target);
      const importer = packageImporters[name];
      if (importer === undefined) report('package', `imports ${name}, which no file is given`);
      else if (importer !== path) report('package', `imports ${name}, which is for ${importer} alone`);
      continue;
    }
    if (targetRoom === null) report('room', `imports ${target}, which lies in no room`);
    else if (targetRoom !== room && !allowed(rooms[room]!, targetRoom, typesOnly)) {
      report('direction', `${room} may not import from ${targetRoom} (${target})`);
    }
  }
}

/** Text of `a.b` where that is what the node is, else ''. */
function dotted(node: ts.Node): string {
  if (!ts.isPropertyAccessExpression(node) || !ts.isIdentifier(node.expression)) return '';
  return `${node.expression.text}.${node.name.text}`;
}

/** True for an identifier that names a value here, not a property, a type or a declaration. */
function isUse(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  if (ts.isTypeReferenceNode(parent) || ts.isTypeQueryNode(parent) || ts.isQualifiedName(parent))
    return false;
  if (ts.isPropertyAssignment(parent)) return parent.initializer === node;
  if (ts.isMethodDeclaration(parent) || ts.isPropertySignature(parent) || ts.isMethodSignature(parent))
    return false;
  return !(ts.isImportSpecifier(parent) || ts.isBindingElement(parent) || ts.isParameter(parent));
}

function checkGlobals(facts: SourceFacts, report: (rule: string, message: string) => void): void {
  const { path, source } = facts;
  const unused = new Set(ambientExceptions[path]?.names);
  const ambient = entryFiles.some((place) => path.startsWith(place));
  const excepted = ambientExceptions[path]?.names ?? [];
  const shared = path.startsWith('src/threads/') || path.startsWith('native-bindings/');
  const visit = (node: ts.Node): void => {
    const line = (): number => source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
    const name = dotted(node);
    unused.delete(name);
    if (name.startsWith('console.'))
      report('console', `line ${line()}: uses ${name}; write through the Logger port`);
    if (forbiddenCalls.includes(name) && !ambient && !excepted.includes(name)) {
      report('ambient', `line ${line()}: uses ${name}; take it from a port`);
    }
    if (ts.isIdentifier(node) && isUse(node)) {
      unused.delete(node.text);
      if (forbiddenObjects.includes(node.text) && !ambient && !excepted.includes(node.text)) {
        report('ambient', `line ${line()}: uses ${node.text}; take it from a port`);
      }
      if (sharedMemoryNames.includes(node.text) && !shared) {
        report('shared-memory', `line ${line()}: uses ${node.text}, which is for src/threads`);
      }
    }
    if (
      ts.isNewExpression(node) &&
      node.expression.getText(source) === 'Date' &&
      (node.arguments?.length ?? 0) === 0 &&
      !ambient
    ) {
      report('ambient', `line ${line()}: reads the clock with new Date(); take the Clock port`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  for (const name of unused)
    report('exception', `is allowed to use ${name} and does not: take it off the list`);
}

function checkShape(facts: SourceFacts, report: (rule: string, message: string) => void): void {
  const { path, source } = facts;
  if (path.endsWith('.worker.ts') && !path.startsWith('src/threads/'))
    report('worker', 'a worker entry outside src/threads');
  const onlyExports =
    source.statements.length > 0 &&
    source.statements.every((s) => ts.isExportDeclaration(s) && s.moduleSpecifier !== undefined);
  if (onlyExports && path !== 'src/embedded/index.ts')
    report('barrel', 'only passes on what other files export; import from those');
}

/** The strongly connected parts of a graph that hold more than one node (Tarjan 1972), each in the order found. */
function circlesOf(edges: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const open: string[] = [];
  const circles: string[][] = [];
  const visit = (node: string): void => {
    index.set(node, index.size);
    low.set(node, index.get(node)!);
    open.push(node);
    for (const next of edges.get(node) ?? []) {
      if (!index.has(next)) visit(next);
      if (open.includes(next)) low.set(node, Math.min(low.get(node)!, low.get(next)!));
    }
    if (low.get(node) !== index.get(node)) return;
    const part = open.splice(open.indexOf(node));
    if (part.length > 1) circles.push(part);
  };
  for (const node of edges.keys()) if (!index.has(node)) visit(node);
  return circles;
}

/** Rooms, and files, that reach themselves by the imports there are, types included, whatever the table says. */
function checkCircles(all: readonly SourceFacts[]): Violation[] {
  const files = new Map<string, Set<string>>();
  const byRoom = new Map<string, Set<string>>();
  const paths = new Map<string, string>();
  for (const { path, room, imports } of all) {
    const near = imports.filter(({ relative }) => relative).map(({ target }) => target);
    files.set(path, new Set(near));
    const far = byRoom.get(room) ?? new Set<string>();
    byRoom.set(room, far);
    for (const target of near) {
      const to = roomOf(target);
      if (to === null || to === room) continue;
      far.add(to);
      if (!paths.has(`${room} ${to}`)) paths.set(`${room} ${to}`, path);
    }
  }
  const violations: Violation[] = [];
  for (const circle of circlesOf(files)) {
    violations.push({
      rule: 'circle',
      file: circle[0]!,
      message: `imports itself by way of ${circle.slice(1).join(', ')}`,
    });
  }
  for (const circle of circlesOf(byRoom)) {
    for (const room of circle) {
      for (const to of byRoom.get(room)!) {
        if (!circle.includes(to)) continue;
        violations.push({
          rule: 'cycle',
          file: paths.get(`${room} ${to}`)!,
          message: `${room} → ${to} closes a cycle between rooms`,
        });
      }
    }
  }
  return violations;
}

function lineCount(source: ts.SourceFile): number {
  return source.getLineStarts().length - 1;
}

/** Rooms with too many files, and files with too many lines, by the table of sizes. */
function checkSizes(all: readonly SourceFacts[]): Violation[] {
  const violations: Violation[] = [];
  const filesIn = new Map<string, string[]>();
  for (const { path, room, source } of all) {
    if (path.includes('/generated/')) continue;
    filesIn.set(room, [...(filesIn.get(room) ?? []), path]);
    const linesMax = sizes.files[path]?.linesMax ?? sizes.linesMax;
    const lines = lineCount(source);
    if (lines > linesMax)
      violations.push({ rule: 'size', file: path, message: `has ${lines} lines of at most ${linesMax}` });
  }
  for (const [room, paths] of filesIn) {
    const filesMax = sizes.rooms[room]?.filesMax ?? sizes.filesMax;
    if (paths.length > filesMax) {
      violations.push({
        rule: 'size',
        file: paths[0]!,
        message: `the room ${room} has ${paths.length} files of at most ${filesMax}`,
      });
    }
  }
  return violations;
}

/** A row for each room: files, lines, and its doors, which are the files that other rooms import. */
export function roomTable(root: string): { room: string; files: number; lines: number; doors: number }[] {
  const all = listSources(root).map((path) => readSource(root, path));
  const doors = new Map<string, Set<string>>();
  for (const { room, imports } of all) {
    for (const { target, relative } of imports) {
      const to = relative ? roomOf(target) : null;
      if (to !== null && to !== room) doors.set(to, (doors.get(to) ?? new Set()).add(target));
    }
  }
  const own = all.filter(({ path }) => !path.includes('/generated/'));
  return [...new Set(own.map(({ room }) => room))].sort().map((room) => {
    const facts = own.filter((each) => each.room === room);
    return {
      room,
      files: facts.length,
      lines: facts.reduce((sum, { source }) => sum + lineCount(source), 0),
      doors: doors.get(room)?.size ?? 0,
    };
  });
}

/** Everything wrong below a root that holds src and native-bindings, in the order of the files. */
export function checkLayering(root: string): Violation[] {
  const all = listSources(root).map((path) => readSource(root, path));
  const violations: Violation[] = [];
  for (const facts of all) {
    const report = (rule: string, message: string): void => {
      violations.push({ rule, file: facts.path, message });
    };
    if (rooms[facts.room] === undefined) {
      report('room', `lies in no room that the table knows (${dirname(facts.path)})`);
      continue;
    }
    checkImports(facts, report);
    checkGlobals(facts, report);
    checkShape(facts, report);
  }
  return [...violations, ...checkSizes(all), ...checkCircles(all)];
}

export function formatViolation({ rule, file, message }: Violation): string {
  return `${file}: ${rule}: ${message}`;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--rooms')) {
    const rows = roomTable(process.cwd());
    process.stdout.write('room              files   lines  doors\n');
    for (const { room, files, lines, doors } of rows) {
      const cells = [files, lines, doors].map((cell) => String(cell).padStart(7));
      process.stdout.write(`${room.padEnd(16)}${cells.join('')}\n`);
    }
  }
  const violations = checkLayering(process.cwd());
  for (const violation of violations) process.stdout.write(`${formatViolation(violation)}\n`);
  process.exitCode = violations.length > 0 ? 1 : 0;
}
