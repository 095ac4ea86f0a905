/** Wire error codes by name, for messages. */
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';

const names: ReadonlyMap<number, string> = new Map(
  Object.entries(ErrorCode).map(([name, code]) => [code, name]),
);

export function errorName(code: number): string {
  return names.get(code) ?? `error ${code}`;
}
