/**
 * PORT to one other broker: requests of Kafka's protocol and their answers. Implemented over sockets by PeerLine, and by tests
 * without one. Shard thread.
 *
 * Requests of one connection are answered in their order, so one whose answer waits for a disk holds up those behind it: each
 * purpose has a connection of its own.
 */
import type { ApiCodec } from '../protocol/codec.ts';

export const peerPurposes = ['markers', 'questions', 'states'] as const;
/** Markers of transactions; questions that memory answers, or one record; delivery states of share groups. */
export type PeerPurpose = (typeof peerPurposes)[number];

/** As much of a generated codec as asking needs. */
export type AskedCodec<Input, Response> = Pick<
  ApiCodec<unknown, Input, Response, unknown>,
  'api' | 'encodeRequest' | 'decodeResponse'
>;

export interface PeerRequest<Input, Response> {
  readonly codec: AskedCodec<Input, Response>;
  /** The peer must know this version at least; the newest that both know is used. */
  readonly minVersion: number;
  readonly input: Input;
  /** Called once. Null: there is no answer, and whether the peer has done it is not known. */
  readonly done: (response: Response | null) => void;
}

export interface PeerConnection {
  send<Input, Response>(request: PeerRequest<Input, Response>): void;
  /** What has no answer yet gets none. */
  close(reason: string): void;
}

/** A broker as its registration describes it. */
export interface PeerAddress {
  readonly node: number;
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

export type ConnectPeer = (address: PeerAddress, purpose: PeerPurpose) => PeerConnection;
