/**
 * Log lines, for people (`2026-03-01T12:00:00.000Z info  broker ready port=9092`) or one JSON object each. Owned by
 * the thread that makes it; `write` gets whole lines with their line feed, and must not throw. Control characters are escaped, so
 * that what a client sends cannot forge a line.
 */
import type { LogFields, Logger, LogLevel } from '../ports/logger.ts';

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: 'text' | 'json';
  readonly write: (line: string) => void;
  /** Wall clock, milliseconds since the epoch. */
  readonly now: () => number;
  /** Fields of every line, such as the thread's name. */
  readonly fields?: LogFields;
}

const severity = { debug: 0, info: 1, warn: 2, error: 3 } as const;
/** A longer message or field is cut: a log line never costs more than this per part. */
const partCharsMax = 8_192;

export function createLogger(options: LoggerOptions): Logger {
  const { level: least, format, write, now, fields: common } = options;
  const line = format === 'json' ? jsonLine : textLine;
  const at =
    (level: LogLevel) =>
    (message: string, fields?: LogFields): void => {
      if (severity[level] < severity[least]) return;
      const time = new Date(now()).toISOString();
      write(line(time, level, message, common === undefined ? fields : { ...common, ...fields }));
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function jsonLine(time: string, level: LogLevel, message: string, fields: LogFields | undefined): string {
  const entries: Record<string, unknown> = { time, level, message: cut(message) };
  for (const [name, value] of Object.entries(fields ?? {})) {
    if (value === undefined) continue;
    // A field never hides the line's own three.
    entries[name in entries ? `${name}_` : name] = typeof value === 'string' ? cut(value) : value;
  }
  return `${JSON.stringify(entries)}\n`;
}

function textLine(time: string, level: LogLevel, message: string, fields: LogFields | undefined): string {
  let line = `${time} ${level.padEnd(5)} ${printable(message)}`;
  for (const [name, value] of Object.entries(fields ?? {})) {
    if (value === undefined) continue;
    const text = typeof value === 'string' ? fieldText(value) : String(value);
    line += ` ${name}=${text}`;
  }
  return `${line}\n`;
}

function fieldText(value: string): string {
  const quoted = JSON.stringify(cut(value));
  return /^[^\s"=\\]+$/.test(value) && quoted.length === value.length + 2 ? value : escapeRest(quoted);
}

function printable(message: string): string {
  return escapeRest(cut(message).replaceAll('\n', '\\n').replaceAll('\r', '\\r'));
}

/** Control characters that JSON leaves alone (delete, C1, line separators) and those it is not asked about. */
function escapeRest(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

function cut(text: string): string {
  return text.length <= partCharsMax ? text : `${text.slice(0, partCharsMax)}…`;
}
