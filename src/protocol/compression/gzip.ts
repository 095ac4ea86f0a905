/**
 * gzip (RFC 1952), several members in a row allowed, by Node's own zlib. Synchronous: whoever must not block its loop
 * for a batch's worth of inflating hands the work to the pool.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import { type Codec, corrupt, tooLarge } from './codec.ts';

export const gzipCodec: Codec = {
  compress: (input, level) => gzipSync(input, level === undefined ? {} : { level }),

  statedBytes(input) {
    const { length } = input;
    if (length < 18) return 0;
    return (
      input[length - 4]! +
      input[length - 3]! * 0x100 +
      input[length - 2]! * 0x1_0000 +
      input[length - 1]! * 0x100_0000
    );
  },

  decompress(input, maxBytes) {
    try {
      return gunzipSync(input, { maxOutputLength: maxBytes });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge('gzip', maxBytes);
      throw corrupt('gzip', (error as Error).message, error);
    }
  },
};
