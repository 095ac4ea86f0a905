/** An answer as it goes over the wire: size, response header, body. */
import type { Writer } from '../../protocol/writer.ts';
import type { ServedCodec } from './handler.ts';

export const apiVersionsKey = 18;

/** Writes the answer from the start of the writer, which then holds all of it; records stand in its holes. */
export function writeAnswer<Response>(
  writer: Writer,
  codec: Pick<ServedCodec<never, Response>, 'api' | 'encodeResponse'>,
  version: number,
  correlationId: number,
  response: Response,
): void {
  writer.reset();
  const at = writer.reserveInt32();
  writer.i32(correlationId);
  // The ApiVersions answer keeps header version 0, so that clients can read it before they know the version.
  if (version >= codec.api.flexibleFrom && codec.api.key !== apiVersionsKey) writer.uvarint(0);
  codec.encodeResponse(writer, response, version);
  writer.patchFrameLength(at);
}
