/**
 * Places in compiled JavaScript where a mechanical change makes a different program, found with TypeScript's parser. What is
 * changed is text: no compiler runs for a mutant.
 *
 * | operator  | change                                                                                        |
 * |-----------|-----------------------------------------------------------------------------------------------|
 * | drop      | the branch of an `if` or `?:` is never taken, the `else` never or always; one side of && or ║ alone |
 * | negate    | a condition is its opposite; === and !== swapped; true and false swapped                      |
 * | bound     | < and <=, > and >= swapped (the bound shifts by one); < and > swapped; min and max swapped      |
 * | skip      | a call whose value nobody uses is left out                                                     |
 * | one       | a small number in a function is one more; + 1 and − 1 are left out; ++ and −− swapped          |
 *
 * Not changed: what only speaks (logs, texts of errors), assertions, module-level constants (they are tuning), imports.
 */
import ts from 'typescript';

export const operators = ['drop', 'negate', 'bound', 'skip', 'one'] as const;
export type Operator = (typeof operators)[number];

/** One change: the text from `start` to `end` becomes `replacement`. */
export interface Mutation {
  /** Below the compiled src/. */
  readonly file: string;
  readonly operator: Operator;
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
  /** What stands there now, and what stands around it on its line, white space folded. */
  readonly text: string;
  readonly line: string;
}

/** Numbers above are tuning, and a test that tells 60,000 from 60,001 tests nothing. */
const smallNumberMax = 16;
/** Calls of these names change nothing but what is said or asserted. */
const speaking = /^(assert\w*|debug|info|warn|error|log|say|unref|ref)$/;

const swapped = new Map<ts.SyntaxKind, readonly (readonly [Operator, string])[]>([
  [
    ts.SyntaxKind.LessThanToken,
    [
      ['bound', '<='],
      ['bound', '>'],
    ],
  ],
  [
    ts.SyntaxKind.LessThanEqualsToken,
    [
      ['bound', '<'],
      ['bound', '>='],
    ],
  ],
  [
    ts.SyntaxKind.GreaterThanToken,
    [
      ['bound', '>='],
      ['bound', '<'],
    ],
  ],
  [
    ts.SyntaxKind.GreaterThanEqualsToken,
    [
      ['bound', '>'],
      ['bound', '<='],
    ],
  ],
  [ts.SyntaxKind.EqualsEqualsEqualsToken, [['negate', '!==']]],
  [ts.SyntaxKind.ExclamationEqualsEqualsToken, [['negate', '===']]],
]);

/** Every mutation of one compiled file, in the order of the text. */
export function mutationsOf(file: string, code: string): Mutation[] {
  return new Sites(file, code).find();
}

class Sites {
  readonly #file: string;
  readonly #code: string;
  readonly #found: Mutation[] = [];

  constructor(file: string, code: string) {
    this.#file = file;
    this.#code = code;
  }

  find(): Mutation[] {
    const source = ts.createSourceFile(
      this.#file,
      this.#code,
      ts.ScriptTarget.ES2023,
      true,
      ts.ScriptKind.JS,
    );
    this.#visit(source, false);
    return this.#found.sort((a, b) => a.start - b.start || a.end - b.end);
  }

  #add(operator: Operator, node: ts.Node, replacement: string): void {
    this.#addRange(operator, node.getStart(), node.getEnd(), replacement);
  }

  #addRange(operator: Operator, start: number, end: number, replacement: string): void {
    const code = this.#code;
    const lineStart = code.lastIndexOf('\n', start) + 1;
    const lineEnd = code.indexOf('\n', start);
    const fold = (text: string): string => text.replace(/\s+/g, ' ').trim();
    this.#found.push({
      file: this.#file,
      operator,
      start,
      end,
      replacement,
      text: fold(code.slice(start, end)).slice(0, 160),
      line: fold(code.slice(lineStart, lineEnd < 0 ? undefined : lineEnd)).slice(0, 160),
    });
  }

  /** `inside`: within a function, where code runs more than once. */
  #visit(node: ts.Node, inside: boolean): void {
    if (isSpeech(node)) return;
    if (inside) this.#mutate(node);
    const within = inside || ts.isFunctionLike(node);
    ts.forEachChild(node, (child) => this.#visit(child, within));
  }

  #mutate(node: ts.Node): void {
    if (ts.isIfStatement(node)) {
      this.#add('drop', node.expression, 'false');
      if (node.elseStatement !== undefined) this.#add('drop', node.expression, 'true');
      this.#negate(node.expression);
    } else if (ts.isConditionalExpression(node)) {
      this.#add('drop', node.condition, 'false');
      this.#add('drop', node.condition, 'true');
    } else if (ts.isWhileStatement(node) || ts.isDoStatement(node)) {
      this.#negate(node.expression);
    } else if (ts.isBinaryExpression(node)) {
      this.#binary(node);
    } else if (ts.isCallExpression(node)) {
      this.#call(node);
    } else if (ts.isExpressionStatement(node)) {
      this.#skip(node);
    } else if (ts.isNumericLiteral(node)) {
      this.#number(node);
    } else if (ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) {
      this.#step(node);
    } else if (node.kind === ts.SyntaxKind.TrueKeyword || node.kind === ts.SyntaxKind.FalseKeyword) {
      this.#add('negate', node, node.kind === ts.SyntaxKind.TrueKeyword ? 'false' : 'true');
    }
  }

  /** A comparison has an operator of its own that negates it. */
  #negate(condition: ts.Expression): void {
    if (ts.isBinaryExpression(condition) && swapped.has(condition.operatorToken.kind)) return;
    const text = condition.getText();
    const bare =
      ts.isPrefixUnaryExpression(condition) && condition.operator === ts.SyntaxKind.ExclamationToken;
    this.#add('negate', condition, bare ? condition.operand.getText() : `!(${text})`);
  }

  #binary(node: ts.BinaryExpression): void {
    const { operatorToken, left, right } = node;
    for (const [operator, text] of swapped.get(operatorToken.kind) ?? [])
      this.#add(operator, operatorToken, text);
    const { kind } = operatorToken;
    if (kind === ts.SyntaxKind.AmpersandAmpersandToken || kind === ts.SyntaxKind.BarBarToken) {
      this.#add('drop', node, left.getText());
      this.#add('drop', node, right.getText());
    }
    const isOne = ts.isNumericLiteral(right) && right.text === '1';
    if (isOne && (kind === ts.SyntaxKind.PlusToken || kind === ts.SyntaxKind.MinusToken))
      this.#add('one', node, left.getText());
  }

  #call(node: ts.CallExpression): void {
    const name = node.expression.getText();
    if (name === 'Math.min') this.#add('bound', node.expression, 'Math.max');
    else if (name === 'Math.max') this.#add('bound', node.expression, 'Math.min');
  }

  #skip(node: ts.ExpressionStatement): void {
    let call: ts.Expression = node.expression;
    if (ts.isAwaitExpression(call) || ts.isVoidExpression(call)) call = call.expression;
    if (!ts.isCallExpression(call) || call.expression.kind === ts.SyntaxKind.SuperKeyword) return;
    this.#add('skip', node, ';');
  }

  #number(node: ts.NumericLiteral): void {
    const value = Number(node.text);
    if (!Number.isInteger(value) || value > smallNumberMax) return;
    const { parent } = node;
    // x ± 1 has its own change.
    if (
      ts.isBinaryExpression(parent) &&
      parent.right === node &&
      value === 1 &&
      /^[+-]$/.test(parent.operatorToken.getText())
    )
      return;
    this.#add('one', node, String(value + 1));
  }

  #step(node: ts.PrefixUnaryExpression | ts.PostfixUnaryExpression): void {
    const text = node.getText();
    if (node.operator === ts.SyntaxKind.PlusPlusToken) this.#add('one', node, text.replace('++', '--'));
    else if (node.operator === ts.SyntaxKind.MinusMinusToken)
      this.#add('one', node, text.replace('--', '++'));
  }
}

/** What only makes words, and what is asserted. */
function isSpeech(node: ts.Node): boolean {
  if (ts.isThrowStatement(node)) return true;
  if (!ts.isExpressionStatement(node)) return false;
  let call: ts.Expression = node.expression;
  if (ts.isVoidExpression(call)) call = call.expression;
  if (!ts.isCallExpression(call)) return false;
  const callee = call.expression;
  const name = ts.isPropertyAccessExpression(callee) ? callee.name.text : callee.getText();
  return speaking.test(name);
}
