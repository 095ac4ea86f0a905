/** Every interleaving of the segment table, the budgets and the lease word, then the same with planted bugs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AtomicsPort } from '../../../src/threads/memory/atomics-port.ts';
import { Budget } from '../../../src/threads/memory/budget.ts';
import { budgetWords } from '../../../src/threads/memory/contract.ts';
import { LeaseWord } from '../../../src/threads/memory/lease-word.ts';
import { SegmentTable, segmentTableLayout } from '../../../src/threads/memory/segment-table.ts';
import { type Actor, type Exploration, explore, type Scenario } from '../../support/interleavings.ts';

type Run = Actor['run'];
/** Turns a port into one that misbehaves. */
type Plant = (port: AtomicsPort) => AtomicsPort;
const sound: Plant = (port) => port;

/** Every read-modify-write done as a read and a write. */
const notAtomic: Plant = (port) => {
  const split =
    (next: (before: number, value: number) => number) => (w: Int32Array, i: number, value: number) => {
      const before = port.load(w, i);
      port.store(w, i, next(before, value));
      return before;
    };
  const rest = delegate(port);
  return {
    ...rest,
    add: split((b, v) => (b + v) | 0),
    sub: split((b, v) => (b - v) | 0),
    exchange: split((_, v) => v),
  };
};

/** compareExchange that compares first and exchanges later. */
const lateExchange: Plant = (port) => ({
  ...delegate(port),
  compareExchange(w, i, expected, replacement) {
    const before = port.load(w, i);
    if (before === expected) port.store(w, i, replacement);
    return before;
  },
});

function delegate(port: AtomicsPort): AtomicsPort {
  return {
    load: (w, i) => port.load(w, i),
    store: (w, i, v) => port.store(w, i, v),
    add: (w, i, v) => port.add(w, i, v),
    sub: (w, i, v) => port.sub(w, i, v),
    exchange: (w, i, v) => port.exchange(w, i, v),
    compareExchange: (w, i, e, r) => port.compareExchange(w, i, e, r),
    wait: (w, i, v, t) => port.wait(w, i, v, t),
    notify: (w, i, n) => port.notify(w, i, n),
  };
}

class TableModel {
  readonly buffer: SharedArrayBuffer;
  readonly segments: number;
  readonly plant: Plant;

  constructor(segments: number, plant: Plant = sound) {
    this.segments = segments;
    this.plant = plant;
    this.buffer = new SharedArrayBuffer(segmentTableLayout(0, segments).end * 4);
    this.now().format();
  }

  /** Outside the exploration, for what was there before and what is there after. */
  now(): SegmentTable {
    return new SegmentTable(new Int32Array(this.buffer), 0, this.segments);
  }

  actor(name: string, run: (table: SegmentTable, trace: unknown[]) => void): Actor {
    return {
      name,
      run: (port, trace) =>
        run(new SegmentTable(new Int32Array(this.buffer), 0, this.segments, this.plant(port)), trace),
    };
  }

  explore(actors: Actor[], atEnd: () => void): Exploration {
    const scenario: Scenario = {
      memory: [this.buffer],
      actors,
      always: (traces) => {
        // A trace holds the segments that the actor owns or has references on at the moment.
        const seen = new Set<unknown>();
        for (const segment of traces.flat()) {
          assert.ok(!seen.has(segment), `segment ${segment} has two owners`);
          seen.add(segment);
        }
      },
      atEnd: (ends) => {
        for (const end of ends) assert.ok(end.done);
        atEnd();
      },
    };
    return explore(scenario);
  }

  allFree(): void {
    const table = this.now();
    assert.equal(table.freeSegments(), this.segments, 'segments lost');
    for (let s = 0; s < this.segments; s++) assert.equal(table.references(s), 0);
  }
}

function hold(trace: unknown[], segment: number): void {
  if (segment >= 0) trace.push(segment);
}

function letGo(table: SegmentTable, trace: unknown[]): void {
  // A step while holding them, so that the others see us do it. Off the trace before the releasing step, since from
  // then on the segment is somebody else's.
  if (trace.length > 0) table.references(trace[0] as number);
  for (let s = trace.pop(); s !== undefined; s = trace.pop()) table.release(s as number);
}

function holds(name: string, exploration: Exploration): void {
  const { schedules, states, failure } = exploration;
  assert.equal(failure, undefined, `${failure?.message}\n${failure?.steps.join('\n')}`);
  process.stdout.write(`    ${name}: ${schedules.toPrecision(3)} schedules through ${states} states\n`);
  assert.ok(schedules > 20);
}

function caught(exploration: Exploration, message: RegExp): void {
  assert.match(exploration.failure?.message ?? 'nothing found', message);
}

function threeAcquirers(plant: Plant): Exploration {
  const model = new TableModel(2, plant);
  const user = (name: string) =>
    model.actor(name, (table, trace) => {
      hold(trace, table.acquire());
      letGo(table, trace);
    });
  return model.explore([user('a'), user('b'), user('c')], () => model.allFree());
}

test('three actors share two segments', () => holds('acquire, release', threeAcquirers(sound)));
test('planted: taking a segment compares and clears in two steps', () => {
  caught(threeAcquirers(lateExchange), /two owners|references|segments lost/);
});

/** Two actors hold a reference each; one adds and drops more; a third may take the segment once it is free. */
function sharedReferences(plant: Plant): Exploration {
  const model = new TableModel(1, plant);
  model.now().acquire();
  model.now().retain(0);
  return model.explore(
    [
      model.actor('sender', (table) => {
        table.retain(0, 2);
        table.release(0);
        table.release(0, 2);
      }),
      model.actor('uploader', (table) => {
        table.release(0);
      }),
      model.actor('receiver', (table, trace) => {
        hold(trace, table.acquire());
        if (trace.length > 0) assert.equal(table.references(0), 1, 'taken while others refer to it');
        letGo(table, trace);
      }),
    ],
    () => model.allFree(),
  );
}

test('a segment is free exactly after its last reference', () =>
  holds('references', sharedReferences(sound)));
test('planted: release is not atomic', () => {
  caught(sharedReferences(notAtomic), /references|refer|segments lost|free/);
});
test('planted: a second release of the same reference', () => {
  const model = new TableModel(1);
  model.now().acquire();
  const twice = model.actor('twice', (table) => {
    table.release(0);
    table.release(0);
  });
  const other = model.actor('other', (table, trace) => {
    hold(trace, table.acquire());
    letGo(table, trace);
  });
  caught(
    model.explore([twice, other], () => model.allFree()),
    /references/,
  );
});

/** Segments 30 to 33 of 34 are free: a run of three crosses bitmap words while others take and free around it. */
function runs(plant: Plant): Exploration {
  const model = new TableModel(34, plant);
  model.now().acquireRun(34);
  for (const s of [30, 31, 32, 33]) model.now().release(s);
  const run = (name: string, count: number) =>
    model.actor(name, (table, trace) => {
      const first = table.acquireRun(count);
      if (first >= 0) for (let s = first; s < first + count; s++) trace.push(s);
      letGo(table, trace);
    });
  return model.explore([run('three', 3), run('two', 2)], () => {
    assert.equal(model.now().freeSegments(), 4, 'segments lost');
  });
}

test('runs that cross bitmap words are whole or not taken', () => holds('runs', runs(sound)));
test('planted: claiming part of a run compares and clears in two steps', () => {
  caught(runs(lateExchange), /two owners|references|segments lost/);
});

test('a run and a single segment compete', () => {
  const model = new TableModel(3);
  holds(
    'run against single',
    model.explore(
      [
        model.actor('run', (table, trace) => {
          const first = table.acquireRun(2);
          if (first >= 0) trace.push(first, first + 1);
          letGo(table, trace);
        }),
        model.actor('single', (table, trace) => {
          hold(trace, table.acquire());
          letGo(table, trace);
        }),
      ],
      () => model.allFree(),
    ),
  );
});

/** The sweep gives memory back while others take and free: never memory that somebody owns. */
function sweeping(sweep: (table: SegmentTable, trace: unknown[]) => void): Exploration {
  const model = new TableModel(1);
  model.now().acquire();
  model.now().release(0);
  return model.explore(
    [
      model.actor('sweep', (table, trace) => {
        for (let round = 0; round < 2; round++) sweep(table, trace);
      }),
      model.actor('user', (table, trace) => {
        hold(trace, table.acquire());
        letGo(table, trace);
        hold(trace, table.acquire());
        letGo(table, trace);
      }),
    ],
    () => model.allFree(),
  );
}

test('memory is given back only while nobody owns it', () => {
  const seen: number[] = [];
  holds(
    'sweep',
    sweeping((table, trace) => {
      table.sweep(0, (s) => {
        seen.push(s);
        trace.push(s);
        table.references(s); // a step, so that the others run while the pages go
        trace.pop();
      });
    }),
  );
  assert.ok(seen.length > 0, 'the sweep never came to give anything back');
});
test('planted: the sweep gives back what only looked free', () => {
  caught(
    sweeping((table, trace) => {
      if (table.freeSegments() === 0) return;
      trace.push(0);
      table.references(0);
      trace.pop();
    }),
    /two owners/,
  );
});

/** Two threads make ready what they will take next, while a third takes, frees and sweeps. */
function preparing(plant: Plant): Exploration {
  const model = new TableModel(2, plant);
  return model.explore(
    [
      ...['one', 'two'].map((name) =>
        model.actor(name, (table, trace) => {
          const segment = table.nextClean(2);
          if (segment >= 0) trace.push(`ready: ${segment}`);
        }),
      ),
      model.actor('user', (table, trace) => {
        hold(trace, table.acquire());
        letGo(table, trace);
      }),
    ],
    () => model.allFree(),
  );
}
test('segments are made ready once each, whoever takes them meanwhile', () =>
  holds('prepare', preparing(sound)));
test('planted: two threads see that a segment is clean, and both make it ready', () => {
  caught(preparing(lateExchange), /segment ready: \d has two owners/);
});

function budgetScenario(plant: Plant): Exploration {
  const buffer = new SharedArrayBuffer(8);
  new Int32Array(buffer)[budgetWords.allowed] = 10;
  const budget = (port?: AtomicsPort) =>
    new Budget('receive', new Int32Array(buffer), 0, ...(port ? [plant(port)] : []));
  const user =
    (bytes: number): Run =>
    (port, trace) => {
      const mine = budget(port);
      if (!mine.tryReserve(bytes)) return;
      trace.push(bytes);
      mine.limit(); // a step while holding
      trace.pop();
      mine.release(bytes);
    };
  return explore({
    memory: [buffer],
    actors: [6, 4, 5].map((bytes) => ({ name: `${bytes} bytes`, run: user(bytes) })),
    always: (traces) => {
      const held = (traces.flat() as number[]).reduce((sum, bytes) => sum + bytes, 0);
      assert.ok(held <= 10, `${held} bytes of 10 promised`);
    },
    atEnd: () => assert.equal(budget().used(), 0, 'bytes lost'),
  });
}

test('a budget never promises more than its limit', () => holds('budget', budgetScenario(sound)));
test('planted: a reservation compares and adds in two steps', () => {
  caught(budgetScenario(lateExchange), /promised|bytes lost|had/);
});

/** The lease worker renews twice; somebody revokes; a reader looks three times at time 15. */
function leaseScenario(renew: (lease: LeaseWord, port: AtomicsPort, words: Int32Array, to: number) => void) {
  const buffer = LeaseWord.createMemory();
  new LeaseWord(buffer).grant(20);
  return explore({
    memory: [buffer],
    actors: [
      {
        name: 'worker',
        run: (port) => {
          for (const to of [40, 30]) renew(new LeaseWord(buffer, port), port, new Int32Array(buffer), to);
        },
      },
      { name: 'fencer', run: (port) => new LeaseWord(buffer, port).revoke() },
      {
        name: 'reader',
        run: (port, trace) => {
          for (let i = 0; i < 3; i++) trace.push(new LeaseWord(buffer, port).leftMs(15));
        },
      },
    ],
    always: (traces) => {
      const left = traces[2] as number[];
      const lost = left.indexOf(0);
      assert.ok(lost < 0 || left.slice(lost).every((ms) => ms === 0), 'a revoked lease came back');
      for (let i = 1; i < left.length; i++) {
        assert.ok(left[i] === 0 || (left[i] as number) >= (left[i - 1] as number), 'the deadline moved back');
      }
    },
    atEnd: () => assert.equal(new LeaseWord(buffer).holds(15), false, 'a revoked lease came back'),
  });
}

test('a lease only moves forward and stays revoked', () => {
  holds(
    'lease',
    leaseScenario((lease, _port, _words, to) => void lease.renew(to)),
  );
});
test('planted: renewing a lease with a plain store', () => {
  caught(
    leaseScenario((_lease, port, words, to) => void port.store(words, 0, to)),
    /came back|moved back/,
  );
});
