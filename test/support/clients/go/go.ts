/** franz-go: the program beside this file, built once. */
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { installed, sources, step } from '../../installed.ts';
import { type Client, codecs, driverClient } from '../jobs.ts';

const files = ['go.mod', 'go.sum', 'main.go', 'transactions.go'];

export async function openFranzGo(): Promise<Client> {
  const recipe = files.map((file) => readFileSync(join(sources, 'go', file), 'utf8')).join('\0');
  const home = await installed('franz-go', recipe, async (aside) => {
    for (const file of files) cpSync(join(sources, 'go', file), join(aside, file));
    await step('go', ['build', '-o', join(aside, 'franz'), '.'], {
      cwd: aside,
      env: { GOTOOLCHAIN: 'local' },
    });
  });
  return driverClient([join(home, 'franz')], {
    operations: ['produce', 'consume', 'rebalance', 'transact', 'copy'],
    codecs,
  });
}
