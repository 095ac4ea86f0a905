/**
 * Regular expressions that clients send, with RE2's syntax and its linear time, as Kafka compiles them: JavaScript's own may take
 * for ever on a shard's loop.
 */
import { RE2JS, RE2JSSyntaxException } from 're2js';

/** Longer ones are refused. */
const patternLengthMax = 1_000;

export interface Pattern {
  /** Whether the whole text matches. */
  matches(text: string): boolean;
}

/** null for what is no expression of RE2. */
export function compilePattern(text: string): Pattern | null {
  if (text.length > patternLengthMax) return null;
  try {
    const compiled = RE2JS.compile(text);
    return { matches: (input) => compiled.matches(input) };
  } catch (error) {
    if (error instanceof RE2JSSyntaxException) return null;
    throw error;
  }
}
