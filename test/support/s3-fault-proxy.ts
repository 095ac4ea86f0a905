/**
 * A proxy in front of a real S3 server that makes trouble on the way, as networks and busy buckets do. It never answers in
 * the server's place but to refuse. Requests keep their Host header, so signatures stay valid.
 *
 *   pass          forwarded
 *   refuse        answered with a status and an S3 error code, never forwarded
 *   delay         forwarded after so many ms
 *   cut before    the connection is cut and nothing reaches the server
 *   cut after     forwarded; the server has answered when the connection is cut, so the request took effect
 */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type ProxyFault =
  | { readonly kind: 'pass' }
  | { readonly kind: 'refuse'; readonly status: number; readonly code: string }
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'cut before' }
  | { readonly kind: 'cut after' };

export const pass: ProxyFault = { kind: 'pass' };

export class S3FaultProxy {
  /** Asked once per request. */
  fault: (method: string, url: string) => ProxyFault = () => pass;
  /** Requests by what was done to them. */
  readonly counts = new Map<ProxyFault['kind'], number>();
  readonly #server: Server;
  readonly #target: URL;

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer((incoming, outgoing) => this.#handle(incoming, outgoing));
    // Bodies of parts take as long as they take.
    this.#server.requestTimeout = 0;
  }

  static async open(endpoint: string): Promise<S3FaultProxy> {
    const proxy = new S3FaultProxy(endpoint);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #handle(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const fault = this.fault(incoming.method ?? '', incoming.url ?? '');
    this.counts.set(fault.kind, (this.counts.get(fault.kind) ?? 0) + 1);
    incoming.on('error', () => {});
    outgoing.on('error', () => {});
    switch (fault.kind) {
      case 'cut before':
        incoming.socket.destroy();
        return;
      case 'refuse':
        incoming.resume().on('end', () => refuse(outgoing, fault.status, fault.code));
        return;
      case 'delay':
        setTimeout(() => this.#forward(incoming, outgoing, false), fault.ms);
        return;
      default:
        this.#forward(incoming, outgoing, fault.kind === 'cut after');
    }
  }

  #forward(incoming: IncomingMessage, outgoing: ServerResponse, cut: boolean): void {
    const { method, url, headers } = incoming;
    const { hostname, port } = this.#target;
    const upstream = request({ hostname, port, method, path: url, headers }, (answer) => {
      if (cut) {
        // The whole answer is here: whatever it did is done.
        answer.resume().on('end', () => incoming.socket.destroy());
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
      answer.on('error', () => incoming.socket.destroy());
    });
    upstream.on('error', () => incoming.socket.destroy());
    outgoing.on('close', () => {
      if (!outgoing.writableFinished && !cut) upstream.destroy();
    });
    incoming.pipe(upstream);
  }
}

function refuse(outgoing: ServerResponse, status: number, code: string): void {
  outgoing.writeHead(status, { 'content-type': 'application/xml' });
  outgoing.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`);
}
