/**
 * The protocol by which brokers of a cluster own a partition, lose it and take it over, as a model to be searched whole
 * (docs/internals/fencing-model.md says each step in words). One partition, one log a broker, each record an append of its own.
 * A pause needs no step: whoever does nothing for long is paused.
 */
import type { Protocol } from './search.ts';

/** What is left out of the protocol, or done in the wrong order: each must be found. */
export const variants = [
  'an acknowledgement without a look at the fence',
  'the fence is looked at before the write instead of after it',
  'an acknowledgement before the write is durable',
  'the lease is asked instead of the fence',
  'a taker reads a log that it does not fence',
  'a taker reads the log before it fences it',
  'a lost partition is closed without reading its log',
  'a partition is opened while another has it open',
  'an open keeps the leader epoch',
  'a partition is closed with a write on its way',
  'an upload is committed whoever is registered',
  'a sweep takes what a living broker has prepared',
  'a log is trimmed before the journal holds the upload',
  'a partition is served before the journal holds its open',
] as const;
export type Variant = (typeof variants)[number];

export interface Bounds {
  readonly brokers: number;
  readonly records: number;
  /** Times that the partition is opened. */
  readonly opens: number;
  /** Whether etcd may be lost, once, at any step. */
  readonly etcdLost: boolean;
}

interface Meta {
  /** By broker: 1 = its registration is in force. */
  registered: number[];
  open: number;
  owner: number;
  epoch: number;
  /** No open has an epoch up to this one: restores jump. */
  floor: number;
  /** Record at each offset that objects hold; −1 = the object is gone. */
  objects: number[];
  /** By log: who is to read it, −1 = nobody. */
  claims: number[];
  /** By log: 1 = emptied by a taker. */
  emptied: number[];
}

type Entry = [epoch: number, offset: number, record: number];

/** Of an append: on its way, durable, proven to be its owner's. */
const stages = { sent: 0, durable: 1, proven: 2 } as const;

interface Append {
  entry: Entry;
  stage: number;
  /** 1 = it became durable behind a taker's fence. */
  late: number;
  /** What a look before the write saw (variants only). */
  looked: number;
}

interface Broker {
  /** Epoch under which it serves; 0 = it does not. */
  serves: number;
  base: number;
  /** Records from `base` on, as far as they were acknowledged. */
  memory: number[];
  append: Append | null;
  upload: { from: number; records: number[]; swept: number } | null;
  /** End of what its uploads have freed. */
  freed: number;
  taking: { log: number; fenced: number; read: Entry[] | null } | null;
  dead: number;
}

export interface State {
  meta: Meta;
  /** What the bucket's journal holds. */
  journal: Meta;
  /** By broker: 1 = its lease is in force in etcd. */
  leases: number[];
  /** By log: 1 = a taker's. */
  fences: number[];
  logs: Entry[][];
  brokers: Broker[];
  acknowledged: [offset: number, record: number, epoch: number, broker: number][];
  /** 1 = somebody acknowledged what became durable behind the fence of a taker. */
  fencedAck: number;
  records: number;
  opens: number;
  lost: number;
}

export function fencingModel(bounds: Bounds, without: Variant | null = null): Protocol<State> {
  const all = Array.from({ length: bounds.brokers }, (_, i) => i);
  const is = (variant: Variant): boolean => without === variant;
  return { initial: initial(all), violation, steps };

  function steps(state: State): [string, State][] {
    const found: [string, State][] = [];
    const step = (name: string, change: (next: State) => void): void => {
      const next = structuredCloneOf(state);
      change(next);
      found.push([name, next]);
    };
    for (const b of all) {
      appends(state, b, step);
      uploads(state, b, step);
      comesAndGoes(state, b, step);
      takes(state, b, step);
    }
    if (state.journal !== state.meta && JSON.stringify(state.meta) !== JSON.stringify(state.journal))
      step('the journal is brought up to date', (next) => {
        next.journal = metaOf(next.meta);
      });
    if (bounds.etcdLost && state.lost === 0)
      step('etcd is lost, and made anew from the journal', (next) => {
        next.lost = 1;
        next.meta = metaOf(next.journal);
        next.meta.floor = next.meta.epoch + 10;
        // Whoever serves goes on with its log and knows nothing; the others have started again, but for the owner on record.
        const { open, owner } = next.meta;
        next.meta.registered = next.brokers.map(({ serves, dead }, b) =>
          serves === 0 && dead === 0 && !(open === 1 && owner === b) ? 1 : 0,
        );
        for (const [b, registered] of next.meta.registered.entries())
          if (registered === 1) next.brokers[b]!.taking = null;
          else if (next.brokers[b]!.serves === 0) ends(next.brokers[b]!);
        next.leases = [...next.meta.registered];
      });
    return found;
  }

  type Step = (name: string, change: (next: State) => void) => void;

  function appends(state: State, b: number, step: Step): void {
    const { serves, base, memory, append, dead } = state.brokers[b]!;
    if (append === null) {
      if (dead === 1 || serves === 0 || state.records >= bounds.records) return;
      step(`${b} sends a write to its log`, (next) => {
        const entry: Entry = [serves, base + memory.length, next.records++];
        next.brokers[b]!.append = { entry, stage: stages.sent, late: 0, looked: 1 - next.fences[b]! };
      });
      return;
    }
    if (append.stage === stages.sent) {
      step(`the write of ${b} becomes durable`, (next) => {
        const { append } = next.brokers[b]!;
        append!.stage = stages.durable;
        append!.late = next.fences[b]!;
        next.logs[b]!.push(append!.entry);
      });
      if (is('an acknowledgement before the write is durable') && dead === 0)
        step(`${b} acknowledges what is on its way`, (next) => acknowledge(next, b, 0));
    }
    if (dead === 1) return;
    if (append.stage === stages.durable)
      step(`${b} looks at its fence`, (next) => {
        const broker = next.brokers[b]!;
        let mine = next.fences[b] === 0;
        if (is('an acknowledgement without a look at the fence')) mine = true;
        if (is('the fence is looked at before the write instead of after it')) mine = append.looked === 1;
        if (is('the lease is asked instead of the fence')) mine = next.leases[b] === 1;
        if (mine) broker.append!.stage = stages.proven;
        else ends(broker);
      });
    if (append.stage === stages.proven)
      step(`${b} acknowledges`, (next) => acknowledge(next, b, append.late));
  }

  function acknowledge(next: State, b: number, late: number): void {
    const broker = next.brokers[b]!;
    const [epoch, offset, record] = broker.append!.entry;
    next.acknowledged.push([offset, record, epoch, b]);
    if (late === 1) next.fencedAck = 1;
    broker.memory.push(record);
    broker.append = null;
  }

  function uploads(state: State, b: number, step: Step): void {
    const { serves, base, memory, upload, freed, dead } = state.brokers[b]!;
    if (upload !== null) {
      const mayGo = state.meta.registered[b] === 0 || is('a sweep takes what a living broker has prepared');
      if (upload.swept === 0 && mayGo)
        step(`a sweep removes what ${b} has prepared`, (next) => {
          next.brokers[b]!.upload!.swept = 1;
        });
      if (dead === 0)
        step(`${b} commits its upload`, (next) => {
          const { meta } = next;
          const broker = next.brokers[b]!;
          const holds =
            meta.registered[b] === 1 && owns(meta, b, serves) && meta.objects.length === upload.from;
          if (!holds && !is('an upload is committed whoever is registered')) return ends(broker);
          for (const [i, record] of upload.records.entries())
            meta.objects[upload.from + i] = upload.swept === 1 ? -1 : record;
          broker.upload = null;
          broker.freed = upload.from + upload.records.length;
        });
    } else if (dead === 0 && serves !== 0 && base + memory.length > Math.max(base, freed))
      step(`${b} stores the objects of an upload`, (next) => {
        const from = Math.max(base, freed);
        next.brokers[b]!.upload = { from, records: memory.slice(from - base), swept: 0 };
      });
    const { journal } = state;
    const held =
      journal.objects.length >= freed || is('a log is trimmed before the journal holds the upload');
    if (dead === 0 && held && state.logs[b]!.some(([epoch, offset]) => epoch === serves && offset < freed))
      step(`${b} trims its log`, (next) => {
        next.logs[b] = next.logs[b]!.filter(([epoch, offset]) => epoch !== serves || offset >= freed);
      });
  }

  function comesAndGoes(state: State, b: number, step: Step): void {
    const { meta, journal } = state;
    const { serves, base, memory, append, upload, dead } = state.brokers[b]!;
    if (state.leases[b] === 1)
      step(`the lease of ${b} is gone`, (next) => {
        next.leases[b] = 0;
      });
    if (state.leases[b] === 0 && meta.registered[b] === 1)
      step(`the controller fences the registration of ${b}`, (next) => {
        next.meta.registered[b] = 0;
      });
    if (dead === 1 || meta.registered[b] === 0) return;
    const isFree =
      meta.open === 0 || (is('a partition is opened while another has it open') && meta.owner !== b);
    if (isFree && serves === 0 && state.opens < bounds.opens && meta.emptied[b] === 0 && append === null)
      step(`${b} opens the partition`, (next) => {
        next.opens++;
        next.meta.open = 1;
        next.meta.owner = b;
        const epoch = Math.max(next.meta.epoch, next.meta.floor);
        next.meta.epoch = is('an open keeps the leader epoch') ? Math.max(1, epoch) : epoch + 1;
      });
    const isHeld =
      owns(journal, b, meta.epoch) || is('a partition is served before the journal holds its open');
    if (serves === 0 && meta.open === 1 && meta.owner === b && isHeld)
      step(`${b} serves`, (next) => {
        const { epoch, objects } = next.meta;
        const former = next.brokers[b]!;
        Object.assign(former, { serves: epoch, base: objects.length, memory: [], freed: objects.length });
      });
    const isDone =
      (append === null || is('a partition is closed with a write on its way')) &&
      upload === null &&
      meta.objects.length === base + memory.length;
    if (serves !== 0 && owns(meta, b, serves) && isDone)
      step(`${b} closes the partition`, (next) => {
        next.meta.open = 0;
        next.brokers[b]!.serves = 0;
      });
  }

  function takes(state: State, b: number, step: Step): void {
    const { meta } = state;
    const broker = state.brokers[b]!;
    if (broker.dead === 1 || meta.registered[b] === 0) return;
    const { taking } = broker;
    if (taking === null) {
      for (const log of all) {
        if (log === b || meta.registered[log] === 1 || meta.emptied[log] === 1) continue;
        const taker = meta.claims[log]!;
        const free = taker === -1 || (taker !== b && meta.registered[taker] === 0);
        if (free)
          step(`the log of ${log} is given to ${b}`, (next) => {
            next.meta.claims[log] = b;
          });
        if (taker === b)
          step(`${b} takes the log of ${log}`, (next) => {
            next.brokers[b]!.taking = { log, fenced: 0, read: null };
          });
      }
      return;
    }
    const { log, fenced, read } = taking;
    const noFence = is('a taker reads a log that it does not fence');
    const readsFirst = is('a taker reads the log before it fences it');
    const noRead = is('a lost partition is closed without reading its log');
    if (fenced === 0 && !noFence && (!readsFirst || read !== null))
      step(`${b} fences the log of ${log}`, (next) => {
        next.fences[log] = 1;
        next.brokers[b]!.taking!.fenced = 1;
      });
    if (read === null && (fenced === 1 || noFence || readsFirst))
      step(`${b} reads the log of ${log}`, (next) => {
        next.brokers[b]!.taking!.read = noRead ? [] : next.logs[log]!.map((entry) => [...entry]);
      });
    if (read !== null && (fenced === 1 || noFence))
      step(`${b} commits what the log of ${log} held, and closes`, (next) => {
        next.brokers[b]!.taking = null;
        const { meta } = next;
        if (meta.claims[log] !== b || meta.emptied[log] === 1) return;
        if (meta.open === 1 && meta.owner === log) {
          meta.objects.push(...following(read, meta));
          meta.open = 0;
        }
        meta.emptied[log] = 1;
      });
  }
}

function initial(all: readonly number[]): State {
  const meta: Meta = {
    registered: all.map(() => 1),
    open: 0,
    owner: -1,
    epoch: 0,
    floor: 0,
    objects: [],
    claims: all.map(() => -1),
    emptied: all.map(() => 0),
  };
  return {
    meta,
    journal: metaOf(meta),
    leases: all.map(() => 1),
    fences: all.map(() => 0),
    logs: all.map(() => []),
    brokers: all.map(() => ({
      serves: 0,
      base: 0,
      memory: [],
      append: null,
      upload: null,
      freed: 0,
      taking: null,
      dead: 0,
    })),
    acknowledged: [],
    fencedAck: 0,
    records: 0,
    opens: 0,
    lost: 0,
  };
}

/** It has learnt that it is fenced, and does nothing any more; a write on its way may still become durable. */
function ends(broker: Broker): void {
  broker.dead = 1;
  broker.upload = null;
  if (broker.append?.stage !== stages.sent) broker.append = null;
}

function owns({ open, owner, epoch }: Meta, broker: number, under: number): boolean {
  return open === 1 && owner === broker && epoch === under;
}

/** Records of a log that continue what objects hold, up to the first gap. */
function following(entries: readonly Entry[], { objects, epoch }: Meta): number[] {
  const records: number[] = [];
  for (;;) {
    const next = entries.find(([e, offset]) => e === epoch && offset === objects.length + records.length);
    if (next === undefined) return records;
    records.push(next[2]);
  }
}

/** The invariants, in the order of docs/internals/fencing-model.md. */
function violation({ meta, logs, acknowledged, fencedAck }: State): string {
  const owners = new Map<number, number>();
  for (const [, , epoch, broker] of acknowledged) {
    if ((owners.get(epoch) ?? broker) !== broker) return `two owners acknowledged in epoch ${epoch}`;
    owners.set(epoch, broker);
  }
  const tail = meta.open === 1 ? following(logs[meta.owner]!, meta) : [];
  const log = [...meta.objects, ...tail];
  for (const [offset, record, , broker] of acknowledged) {
    if (log.filter((each) => each === record).length > 1) return `record ${record} is there twice`;
    if (log[offset] !== record)
      return `record ${record}, acknowledged by ${broker} at ${offset}, is ${log.includes(record) ? 'elsewhere' : 'lost'}`;
  }
  return fencedAck === 1 ? 'a fenced broker acknowledged' : '';
}

function metaOf(meta: Meta): Meta {
  return {
    ...meta,
    registered: [...meta.registered],
    objects: [...meta.objects],
    claims: [...meta.claims],
    emptied: [...meta.emptied],
  };
}

/** Deep enough for what steps change in place. */
function structuredCloneOf(state: State): State {
  return {
    ...state,
    meta: metaOf(state.meta),
    // Replaced whole, never changed.
    journal: state.journal,
    leases: [...state.leases],
    fences: [...state.fences],
    logs: state.logs.map((entries) => [...entries]),
    brokers: state.brokers.map((broker) => ({
      ...broker,
      memory: [...broker.memory],
      append: broker.append === null ? null : { ...broker.append },
      upload: broker.upload === null ? null : { ...broker.upload },
      taking: broker.taking === null ? null : { ...broker.taking },
    })),
    acknowledged: [...state.acknowledged],
  };
}
