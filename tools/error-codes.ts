/**
 * Finds the codes of operational errors in the source: the second argument of `new MillraceError(kind, code, …)` and of a
 * subclass's `super(kind, code, …)`, and the first of `refused(code, …)`. docs/reference/errors.md must name them all.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const code = /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/;

/** Code → kinds that it is thrown with, both as the source states them. */
export function errorCodes(root: string): ReadonlyMap<string, ReadonlySet<string>> {
  const codes = new Map<string, Set<string>>();
  const visit = (node: ts.Node): void => {
    if (ts.isNewExpression(node) || ts.isCallExpression(node)) {
      const callee =
        node.expression.kind === ts.SyntaxKind.SuperKeyword
          ? 'super'
          : ts.isIdentifier(node.expression)
            ? node.expression.text
            : '';
      const [first, second] = node.arguments ?? [];
      const [kind, name] = callee === 'refused' ? [undefined, first] : [first, second];
      if (
        ['MillraceError', 'super', 'refused'].includes(callee) &&
        name !== undefined &&
        ts.isStringLiteral(name) &&
        code.test(name.text)
      ) {
        const kinds = codes.get(name.text) ?? new Set<string>();
        codes.set(
          name.text,
          kinds.add(kind !== undefined && ts.isStringLiteral(kind) ? kind.text : 'invalid'),
        );
      }
    }
    ts.forEachChild(node, visit);
  };
  for (const folder of ['src', 'native-bindings']) {
    for (const name of readdirSync(join(root, folder), { recursive: true }).map(String)) {
      if (!name.endsWith('.ts')) continue;
      visit(
        ts.createSourceFile(
          name,
          readFileSync(join(root, folder, name), 'utf8'),
          ts.ScriptTarget.ES2023,
          true,
        ),
      );
    }
  }
  return codes;
}
