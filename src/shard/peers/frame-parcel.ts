/**
 * A request on its way to the shard that coordinates it: the client's context, then the frame, in one arena allocation.
 *
 *   0        8          10        12         16          18          20
 *   ┌────────┬──────────┬─────────┬──────────┬───────────┬───────────┬──────┬───────────┬──────────┬───────────┬───────┐
 *   │ conn.id│ version  │ host len│ client id│ listener  │ principal │ host │ client id │ listener │ principal │ frame │
 *   │ f64    │ i16      │ u16     │ len, −1 =│ len u16   │ len u16   │      │           │          │           │       │
 *   │        │          │         │ null, i32│           │           │      │           │          │           │       │
 *   └────────┴──────────┴─────────┴──────────┴───────────┴───────────┴──────┴───────────┴──────────┴───────────┴───────┘
 *   little endian; texts in UTF-8. Lives between two threads of one process only.
 */
import type { CallerContext } from '../../requests/support/handler.ts';

const headBytes = 20;

export interface FrameParcel {
  readonly context: CallerContext;
  /** A copy of its own: handlers keep views of their request. */
  readonly frame: Buffer;
}

export function parcelBytes(context: CallerContext, frameBytes: number): number {
  const clientId = context.clientId === null ? 0 : Buffer.byteLength(context.clientId);
  return (
    headBytes +
    Buffer.byteLength(context.clientHost) +
    clientId +
    Buffer.byteLength(context.listener) +
    Buffer.byteLength(context.principal) +
    frameBytes
  );
}

/** Writes the parcel at `at`; `parcelBytes` says how long it is. */
export function writeParcel(
  to: Buffer,
  at: number,
  context: CallerContext,
  from: Buffer,
  position: number,
  length: number,
): void {
  const { clientHost, clientId, listener, principal } = context;
  let next = at + headBytes;
  const hostBytes = to.write(clientHost, next);
  next += hostBytes;
  const clientBytes = clientId === null ? -1 : to.write(clientId, next);
  next += Math.max(0, clientBytes);
  const listenerBytes = to.write(listener, next);
  next += listenerBytes;
  const principalBytes = to.write(principal, next);
  next += principalBytes;
  to.writeDoubleLE(context.connectionId, at);
  to.writeInt16LE(context.apiVersion, at + 8);
  to.writeUInt16LE(hostBytes, at + 10);
  to.writeInt32LE(clientBytes, at + 12);
  to.writeUInt16LE(listenerBytes, at + 16);
  to.writeUInt16LE(principalBytes, at + 18);
  from.copy(to, next, position, position + length);
}

export function readParcel(from: Buffer, at: number, length: number): FrameParcel {
  const hostAt = at + headBytes;
  const clientAt = hostAt + from.readUInt16LE(at + 10);
  const clientBytes = from.readInt32LE(at + 12);
  const listenerAt = clientAt + Math.max(0, clientBytes);
  const principalAt = listenerAt + from.readUInt16LE(at + 16);
  const frameAt = principalAt + from.readUInt16LE(at + 18);
  return {
    context: {
      connectionId: from.readDoubleLE(at),
      apiVersion: from.readInt16LE(at + 8),
      clientHost: from.toString('utf8', hostAt, clientAt),
      clientId: clientBytes < 0 ? null : from.toString('utf8', clientAt, listenerAt),
      listener: from.toString('utf8', listenerAt, principalAt),
      principal: from.toString('utf8', principalAt, frameAt),
    },
    frame: Buffer.from(from.subarray(frameAt, at + length)),
  };
}
