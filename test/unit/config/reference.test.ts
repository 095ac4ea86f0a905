import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { helpColumns, settingsHelp, wrap } from '../../../src/config/help.ts';
import { settingKeys, settingSpec } from '../../../src/config/setting-keys.ts';
import { isSecret, resolveSettings } from '../../../src/config/settings.ts';
import { humanText } from '../../../src/config/values.ts';
import { configurationReference } from '../../../tools/configuration-reference.ts';

test('docs/reference/configuration.md is what the tables say (node dist/tools/generate-reference.js writes it)', () => {
  assert.equal(readFileSync('docs/reference/configuration.md', 'utf8'), configurationReference());
});

test('the page and the help name every setting', () => {
  const page = configurationReference();
  const { settings } = resolveSettings({
    profile: 'start',
    machine: { memoryBytes: 2 ** 33, cores: 4 },
    directory: `/${'long/'.repeat(60)}`,
  });
  const help = settingsHelp(settings);
  for (const key of settingKeys) {
    assert.ok(page.includes(`### \`${key}\`\n`), key);
    assert.equal(help.filter((line) => line.startsWith(`  ${key} =`)).length, 1, key);
  }
  for (const line of help) assert.ok(line.length <= helpColumns, line);
});

test('lines are broken at spaces, and words longer than a line are cut', () => {
  assert.deepEqual(wrap('aa bb cc dd', 1, 6), [' aa bb', ' cc dd']);
  assert.deepEqual(wrap('a bbbbbbbbbb c', 2, 6, 3), ['  a', '   bbb', '   bbb', '   bbb', '   b c']);
});

test('secrets print as stars', () => {
  assert.equal(humanText('password', 'hunter2'), '***');
  assert.equal(humanText('password', ''), '');
  for (const key of settingKeys) {
    const named = /password|secret|passphrase/.test(key);
    assert.equal(isSecret(settingSpec(key)), named, key);
  }
});
