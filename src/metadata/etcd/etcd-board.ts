/** Reports of load as keys of etcd (report-board.ts): `<prefix>/loads/<node>`, under no lease, so that the last one outlives its broker. */
import type { ReportBoard } from '../report-board.ts';
import { EtcdLayout } from './etcd-layout.ts';
import { type EtcdKv, prefixEnd } from './kv.ts';

export class EtcdBoard implements ReportBoard {
  readonly #kv: EtcdKv;
  readonly #prefix: string;

  constructor(kv: EtcdKv, prefix: string) {
    this.#kv = kv;
    this.#prefix = new EtcdLayout(prefix).loadsPrefix;
  }

  async post(node: number, report: Uint8Array): Promise<void> {
    await this.#kv.txn({ success: [{ type: 'put', key: this.#prefix + node, value: report }] });
  }

  async read(): Promise<ReadonlyMap<number, Uint8Array>> {
    const { entries } = await this.#kv.range({ key: this.#prefix, end: prefixEnd(this.#prefix) });
    return new Map(entries.map(({ key, value }) => [Number(key.slice(this.#prefix.length)), value]));
  }

  async remove(node: number): Promise<void> {
    await this.#kv.txn({ success: [{ type: 'delete', key: this.#prefix + node }] });
  }
}
