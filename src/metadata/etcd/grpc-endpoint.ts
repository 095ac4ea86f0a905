/** One etcd member over gRPC: calls and streams of bytes. The adapter of @grpc/grpc-js; nothing else imports it. */
import { Client, credentials, Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';

/** PEM. Null members: the system's authorities; no client certificate. */
export interface EtcdTls {
  readonly ca: Buffer | null;
  readonly certificate: Buffer | null;
  readonly key: Buffer | null;
}

export interface GrpcFailure {
  readonly code: number;
  readonly details: string;
}

export interface GrpcStream {
  write(message: Buffer): void;
  /** Nothing is told any more. */
  cancel(): void;
}

export interface GrpcStreamListener {
  message(bytes: Buffer): void;
  /** Once; null where the other end had nothing more to say. */
  ended(failure: GrpcFailure | null): void;
}

export const grpcCodes = status;

/** Pings find a dead connection while streams are open; etcd takes one each 5 s at most. */
const keepAliveMs = 10_000;
const keepAliveTimeoutMs = 5_000;
const reconnectMsMax = 1_000;

const same = (bytes: Buffer): Buffer => bytes;

export class GrpcEndpoint {
  readonly #client: Client;

  /** @param address host:port */
  constructor(address: string, tls: EtcdTls | null) {
    const secrets =
      tls === null ? credentials.createInsecure() : credentials.createSsl(tls.ca, tls.key, tls.certificate);
    this.#client = new Client(address, secrets, {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': keepAliveMs,
      'grpc.keepalive_timeout_ms': keepAliveTimeoutMs,
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': reconnectMsMax,
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** Rejects with GrpcFailure. @param deadlineMs wall-clock ms. */
  unary(
    path: string,
    request: Buffer,
    deadlineMs: number,
    headers: Readonly<Record<string, string>>,
  ): Promise<Buffer> {
    return new Promise((resolve, reject: (failure: GrpcFailure) => void) => {
      const done = (error: ServiceError | null, answer?: Buffer): void => {
        if (error === null) resolve(answer ?? Buffer.alloc(0));
        else reject({ code: error.code, details: error.details });
      };
      const options = { deadline: deadlineMs };
      this.#client.makeUnaryRequest(path, same, same, request, metadataOf(headers), options, done);
    });
  }

  stream(path: string, headers: Readonly<Record<string, string>>, listener: GrpcStreamListener): GrpcStream {
    const call = this.#client.makeBidiStreamRequest(path, same, same, metadataOf(headers));
    let over = false;
    const end = (failure: GrpcFailure | null): void => {
      if (over) return;
      over = true;
      listener.ended(failure);
    };
    call.on('data', (bytes: Buffer) => {
      if (!over) listener.message(bytes);
    });
    // The error says the same as the status, and must have a listener.
    call.on('error', () => {});
    call.on('status', ({ code, details }: StatusObject) =>
      end(code === status.OK ? null : { code, details }),
    );
    return {
      write: (message) => void call.write(message),
      cancel: () => {
        over = true;
        call.cancel();
      },
    };
  }

  close(): void {
    this.#client.close();
  }
}

function metadataOf(headers: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

/** Whether the request surely never left: no connection was there to send it by. */
export function wasNotSent({ code, details }: GrpcFailure): boolean {
  return (
    code === status.UNAVAILABLE &&
    /^(No connection established|Name resolution failed|Channel closed before call started)/.test(details)
  );
}
