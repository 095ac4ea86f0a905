/** What every simulated run has in common: a world that is driven until the run is over, and what is told of it. */
import type { Coverage } from './coverage.ts';
import { SimWorld, Violation } from './world.ts';

export interface SimulationOptions {
  readonly seed: number;
  readonly operations?: number;
  readonly faults?: number;
  readonly onTrace?: (line: string) => void;
}

export interface SimulationResult {
  readonly seed: number;
  readonly violation: string | null;
  readonly digest: string;
  readonly operations: number;
  readonly faults: number;
  readonly lives: number;
  readonly events: number;
  readonly simulatedMs: number;
  readonly coverage: Coverage['counts'];
  /** Partitions that were closed and opened while their broker served others. */
  readonly turns: number;
  /** Transactions whose producers were told that they are committed. */
  readonly committed: number;
}

/** Simulated time after which a run counts as hanging. */
const runMsMax = 4 * 3_600_000;

export abstract class Simulated {
  readonly world: SimWorld;
  readonly operations: number;
  readonly faultsMin: number;

  constructor(options: SimulationOptions) {
    this.world = new SimWorld(options.seed);
    this.world.onTrace = options.onTrace ?? null;
    this.operations = options.operations ?? 2_000;
    this.faultsMin = options.faults ?? 10;
  }

  protected abstract main(): Promise<void>;

  protected abstract result(): Pick<SimulationResult, 'lives' | 'coverage' | 'turns' | 'committed'>;

  async run(): Promise<SimulationResult> {
    const { world } = this;
    const onRejection = (reason: unknown): void => {
      world.violation ??= reason instanceof Error ? reason : new Violation(String(reason));
    };
    process.on('unhandledRejection', onRejection);
    world.after(runMsMax, () => world.fail(`not over after ${runMsMax / 3_600_000} simulated hours`));
    try {
      await world.drive(this.main());
    } finally {
      process.off('unhandledRejection', onRejection);
    }
    const { violation } = world;
    const text =
      violation === null
        ? null
        : violation instanceof Violation
          ? violation.message
          : (violation.stack ?? violation.message);
    world.trace(`end: ${text ?? 'fine'}`);
    return {
      seed: world.seed,
      violation: text,
      digest: world.digest(),
      operations: world.operations,
      faults: world.faults,
      events: world.events,
      simulatedMs: Math.round(world.time),
      ...this.result(),
    };
  }
}
