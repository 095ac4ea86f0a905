/**
 * gzip (RFC 1952), several members in a row allowed, by Node's own zlib. Synchronous: whoever must not block its loop
 * for a batch's worth of inflating hands the work to the pool.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import { type Codec, corrupt, tooLarge } from './codec.ts';

export const gzipCodec: Codec = {
  compress: (input) => gzipSync(input),

  decompress(input, maxBytes) {
    try {
      return gunzipSync(input, { maxOutputLength: maxBytes });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge('gzip', maxBytes);
      throw corrupt('gzip', (error as Error).message, error);
    }
  },
};
