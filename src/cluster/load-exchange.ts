/**
 * A broker's reports of load on their way to whoever leads: measured and posted every `intervalMs`, read by the broker that leads in
 * the same turn. Main thread.
 *
 *   shards' counts ─► rates ─► bounded report ─► board ─► leader: LoadReports
 *
 * One turn is under way at a time. What cannot be posted or read is left for the next turn: brokers that are not heard of count as
 * unknown then.
 */
import type { ClusterImage } from '../metadata/metadata-store.ts';
import type { ReportBoard } from '../metadata/report-board.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { ClusterLoad } from './cluster-load.ts';
import { LoadMeter, type LoadSample } from './load-meter.ts';
import { boundedReport, encodeReport, type LoadReport } from './load-report.ts';
import { LoadReports } from './load-reports.ts';

export interface LoadExchangeOptions {
  readonly board: ReportBoard;
  readonly image: () => ClusterImage;
  readonly leads: () => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeId: number;
  readonly brokerEpoch: number;
  readonly cores: number;
  /** What was counted since it was asked last, with what logs hold that is in no object. */
  readonly sample: () => Promise<LoadSample & Pick<LoadReport, 'logs'>>;
  /** Where operators reach this broker; '' = nowhere. */
  readonly http: () => string;
}

export const reportIntervalMs = 3_000;

export class LoadExchange {
  readonly #options: LoadExchangeOptions;
  readonly #meter = new LoadMeter();
  readonly #reports = new LoadReports();
  #sequence = 0;
  #timer: Timer | null = null;
  #turn: Promise<void> = Promise.resolve();
  #stopped = false;
  #troubled = false;

  constructor(options: LoadExchangeOptions) {
    this.#options = options;
  }

  start(): void {
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#turn;
  }

  /** On the broker that leads; elsewhere every broker is unknown. */
  load(): ClusterLoad {
    return this.#reports.load(this.#options.image(), this.#options.clock.monotonic());
  }

  /** As they lie on the board now, of brokers in force; on any broker. */
  async newest(): Promise<Map<number, LoadReport>> {
    const reports = new LoadReports();
    reports.see(await this.#options.board.read(), 0);
    const image = this.#options.image();
    const newest = new Map<number, LoadReport>();
    for (const node of image.brokers.keys()) {
      const report = reports.reportOf(image, node);
      if (report !== null) newest.set(node, report);
    }
    return newest;
  }

  #schedule(): void {
    this.#timer = this.#options.clock.after(reportIntervalMs, () => {
      this.#turn = this.#run().finally(() => {
        if (!this.#stopped) this.#schedule();
      });
    });
  }

  async #run(): Promise<void> {
    const { board, leads, clock, logger, image } = this.#options;
    try {
      await this.#report();
      if (leads()) {
        const reports = await board.read();
        this.#reports.see(reports, clock.monotonic());
        const { brokers } = image();
        for (const node of reports.keys()) if (!brokers.has(node)) await board.remove(node);
      }
      if (this.#troubled) logger.info('reports of load come and go again');
      this.#troubled = false;
    } catch (error) {
      if (!this.#troubled) logger.warn('reports of load do not come through', { reason: String(error) });
      this.#troubled = true;
    }
  }

  async #report(): Promise<void> {
    const { board, clock, nodeId, brokerEpoch, cores, sample, http } = this.#options;
    const { logs, ...counted } = await sample();
    const measured = this.#meter.measure(counted, clock.monotonic());
    if (measured === null) return;
    const { coresUsed, streams } = measured;
    const frame = { epoch: brokerEpoch, sequence: ++this.#sequence, http: http(), coresUsed, cores, logs };
    await board.post(nodeId, encodeReport(boundedReport(frame, streams)));
  }
}
