/**
 * Java's properties syntax: `key=value`, `key: value` or `key value`, `#` and `!` comments, a backslash at the line's
 * end goes on in the next, \t \n \r \f \uXXXX and escaped separators. As in Java the last of two equal keys counts.
 */
import type { GivenSetting } from './settings.ts';

/** A settings file larger than this is some other file. */
export const propertiesCharsMax = 1024 * 1024;

/** Entries in the file's order, without those a later line replaces. */
export function parseProperties(text: string, fileName: string): GivenSetting[] {
  const entries = new Map<string, GivenSetting>();
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/);
  for (let i = 0; i < lines.length; i++) {
    const origin = `line ${i + 1} of ${fileName}`;
    let line = lines[i]!.replace(/^[ \t\f]+/, '');
    if (line === '' || line.startsWith('#') || line.startsWith('!')) continue;
    while (continues(line) && i + 1 < lines.length) {
      i++;
      line = line.slice(0, -1) + lines[i]!.replace(/^[ \t\f]+/, '');
    }
    const [name, value] = splitEntry(continues(line) ? line.slice(0, -1) : line);
    entries.delete(name);
    entries.set(name, { name, value: value.trimEnd(), origin });
  }
  return [...entries.values()];
}

/** An odd number of backslashes at the end. */
function continues(line: string): boolean {
  return /(?<!\\)(?:\\\\)*\\$/.test(line);
}

function splitEntry(line: string): [string, string] {
  let end = 0;
  while (end < line.length && !/[=: \t\f]/.test(line[end]!)) end += line[end] === '\\' ? 2 : 1;
  const rest = line.slice(end).replace(/^[ \t\f]*[=:]?[ \t\f]*/, '');
  return [unescaped(line.slice(0, end)), unescaped(rest)];
}

const escapes: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f' };

function unescaped(text: string): string {
  return text.replace(
    /\\(?:u([0-9a-fA-F]{4})|(.))/g,
    (_, code: string | undefined, character: string | undefined) =>
      code !== undefined
        ? String.fromCharCode(Number.parseInt(code, 16))
        : (escapes[character!] ?? character!),
  );
}
