/** URLs and paths as settings take them: which schemes a store and a WAL have, and what lies below the data directory. */
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { DefaultContext } from './setting-spec.ts';

export const below = (context: DefaultContext, name: string): string =>
  pathToFileURL(resolve(context.get('data.dir') as string, name)).href;

export const storeSchemes = ['file:', 's3:', 'memory:'] as const;
export const walSchemes = ['file:', 's3:', 'memory:'] as const;
/** `file:` URLs must be absolute as written: `file:./x` would mean /x. */
export const hasScheme = (url: string, schemes: readonly string[]): boolean =>
  URL.canParse(url) &&
  schemes.includes(new URL(url).protocol) &&
  (!url.startsWith('file:') || url.startsWith('file:///'));

/** Beside the schemes: the broker's own store or another, and a directory that other machines reach. */
export const isWalUrl = (url: string): boolean =>
  url === 'store:' ||
  /^shared:\/(\/\/)?[^/]/.test(url) ||
  hasScheme(url.replace(/^store:/, ''), url.startsWith('store:') ? storeSchemes : walSchemes);

/** From the working directory; empty stays empty. */
export function absolutePath(path: string, context: DefaultContext): string {
  return path === '' || isAbsolute(path) ? path : resolve(context.directory, path);
}
