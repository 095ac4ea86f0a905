/** The settings part of --help: every setting with its value on this machine, at most 100 columns. */

import { type Settings, settingKeys, settingSpec } from './setting-keys.ts';
import { settingGroups } from './setting-spec.ts';
import { rangeText } from './settings.ts';
import { humanText } from './values.ts';

export const helpColumns = 100;

export function settingsHelp(settings: Settings): string[] {
  const lines: string[] = [];
  for (const group of settingGroups) {
    lines.push('', `${group}:`);
    for (const key of settingKeys) {
      const spec = settingSpec(key);
      if (spec.group !== group) continue;
      const value = humanText(spec.type, settings[key], spec.unit);
      lines.push(...wrap(`${key} = ${value === '' ? '(none)' : value}`, 2, helpColumns, 6));
      const range = rangeText(spec);
      lines.push(...wrap(range === '' ? spec.doc : `${spec.doc} [${range}]`, 6, helpColumns));
    }
  }
  return lines;
}

/** Lines of at most `columns` characters, broken at spaces; a longer word is cut. */
export function wrap(text: string, indent: number, columns: number, nextIndent = indent): string[] {
  const lines: string[] = [];
  let line = ' '.repeat(indent);
  let empty = true;
  for (let word of text.split(' ')) {
    if (!empty && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = ' '.repeat(nextIndent);
      empty = true;
    }
    while (line.length + word.length > columns) {
      const room = columns - line.length;
      lines.push(line + word.slice(0, room));
      word = word.slice(room);
      line = ' '.repeat(nextIndent);
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  lines.push(line);
  return lines;
}
