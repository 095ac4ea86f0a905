/**
 * Runs every interleaving of a few actors at each atomic step. An actor is ordinary synchronous code that touches
 * shared memory only through the AtomicsPort it is given; to continue it from the middle, it is run again from its
 * start with the results of its earlier steps replayed, up to the next step, which is performed, and the one after,
 * where it is stopped. So the code under test is the production code, unchanged.
 *
 * The search is depth first over states. Two schedules that lead to the same memory and the same results for every
 * actor have the same future, so it is searched once and its schedules are counted for both: the number of schedules
 * reported is exact, though few of them are walked one by one.
 *
 * Not modelled: weak memory orders (JavaScript's Atomics are sequentially consistent, and actors read and write slots
 * as steps too) and time-outs (a sleeper whom nobody wakes must be seen, not saved).
 */
import type { AtomicsPort } from '../../src/threads/memory/atomics-port.ts';

export interface Actor {
  readonly name: string;
  /** Deterministic but for the port. `trace` is what it has to show so far. */
  run(port: AtomicsPort, trace: unknown[]): void;
}

export interface Scenario {
  /** Every buffer that the actors share, as it is at the start. */
  readonly memory: readonly SharedArrayBuffer[];
  readonly actors: readonly Actor[];
  /** Throws when a state is not allowed; called after each step. */
  always?(traces: readonly (readonly unknown[])[]): void;
  /** Throws when an end is not allowed: nobody can go on, all are done or asleep. */
  atEnd(ends: readonly ActorEnd[]): void;
}

export interface ActorEnd {
  readonly name: string;
  readonly done: boolean;
  readonly trace: readonly unknown[];
}

export interface Exploration {
  /** Complete schedules; a float past 2^53. */
  readonly schedules: number;
  readonly states: number;
  readonly failure: { readonly message: string; readonly steps: readonly string[] } | undefined;
}

interface ActorState {
  readonly log: Log;
  /** The word it sleeps on. */
  readonly asleep: number | undefined;
  readonly done: boolean;
  readonly trace: readonly unknown[];
}

type Result = number | string;

/** Results of an actor's steps so far, interned: equal logs have one id. */
class Log {
  readonly id: number;
  readonly results: readonly Result[];
  readonly #next = new Map<Result, Log>();

  constructor(id: number, results: readonly Result[]) {
    this.id = id;
    this.results = results;
  }

  after(result: Result, newId: () => number): Log {
    let next = this.#next.get(result);
    if (next === undefined) {
      next = new Log(newId(), [...this.results, result]);
      this.#next.set(result, next);
    }
    return next;
  }
}

/** The words that some actor has touched, numbered as they were first met; the others are as they were at the start. */
class Words {
  readonly #buffers: readonly Int32Array[];
  readonly #numbers: Map<number, number>[];
  readonly #start: number[] = [];
  readonly #at: { readonly words: Int32Array; readonly index: number }[] = [];

  constructor(buffers: readonly SharedArrayBuffer[]) {
    this.#buffers = buffers.map((buffer) => new Int32Array(buffer));
    this.#numbers = buffers.map(() => new Map());
  }

  /** Must be called before the word is changed. */
  number(words: Int32Array, offset: number): number {
    const index = offset + words.byteOffset / 4;
    const buffer = this.#buffers.findIndex((known) => known.buffer === words.buffer);
    const numbers = this.#numbers[buffer];
    if (numbers === undefined) throw new Error('an actor touched memory that the scenario does not list');
    let number = numbers.get(index);
    if (number === undefined) {
      number = this.#at.length;
      numbers.set(index, number);
      const known = this.#buffers[buffer] as Int32Array;
      this.#at.push({ words: known, index });
      this.#start.push(known[index] as number);
    }
    return number;
  }

  name(number: number): string {
    const at = this.#at[number];
    return at === undefined ? '?' : `${this.#buffers.indexOf(at.words)}:${at.index}`;
  }

  save(): number[] {
    return this.#at.map(({ words, index }) => words[index] as number);
  }

  restore(saved: readonly number[]): void {
    for (let i = 0; i < this.#at.length; i++) {
      const { words, index } = this.#at[i] as { words: Int32Array; index: number };
      words[index] = saved[i] ?? (this.#start[i] as number);
    }
  }
}

const suspended = Symbol('suspended');
const statesMax = 3_000_000;

export function explore(scenario: Scenario): Exploration {
  return new Explorer(scenario).run();
}

class Explorer {
  readonly #scenario: Scenario;
  readonly #words: Words;
  readonly #known = new Map<string, number>();
  readonly #path: string[] = [];
  #logs = 0;
  readonly #newLog = (): number => this.#logs++;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.#words = new Words(scenario.memory);
  }

  run(): Exploration {
    const empty = new Log(this.#newLog(), []);
    const actors = this.#scenario.actors.map(
      (): ActorState => ({ log: empty, asleep: undefined, done: false, trace: [] }),
    );
    try {
      const schedules = this.#visit([], actors);
      return { schedules, states: this.#known.size, failure: undefined };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return { schedules: 0, states: this.#known.size, failure: { message, steps: [...this.#path] } };
    } finally {
      this.#words.restore([]);
    }
  }

  #visit(memory: readonly number[], actors: readonly ActorState[]): number {
    const key = stateKey(memory, actors);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size > statesMax) throw new RangeError('the scenario is too large to explore');
    let schedules = 0;
    for (let a = 0; a < actors.length; a++) {
      const actor = actors[a] as ActorState;
      if (actor.done || actor.asleep !== undefined) continue;
      this.#words.restore(memory);
      const next = this.#step(a, actors);
      this.#scenario.always?.(next.map((state) => state.trace));
      schedules += this.#visit(this.#words.save(), next);
      this.#path.pop();
    }
    if (schedules === 0) {
      this.#words.restore(memory);
      this.#scenario.atEnd(
        actors.map(({ done, trace }, i) => ({ name: this.#scenario.actors[i]?.name ?? '', done, trace })),
      );
      schedules = 1;
    }
    this.#known.set(key, schedules);
    return schedules;
  }

  /** Runs actor `a` for one more step; the path gets a line for it. */
  #step(a: number, actors: readonly ActorState[]): ActorState[] {
    const actor = this.#scenario.actors[a] as Actor;
    const { log } = actors[a] as ActorState;
    const port = new SteppingPort(this.#words, log.results);
    const trace: unknown[] = [];
    let done = false;
    try {
      actor.run(port, trace);
      done = true;
    } catch (error) {
      if (error !== suspended) {
        this.#path.push(`${actor.name}: ${port.describe()}, then throws`);
        throw error;
      }
    }
    this.#path.push(`${actor.name}: ${port.describe()}`);
    const next = actors.slice();
    const { result, notified } = port;
    next[a] = {
      log: result === undefined ? log : log.after(result, this.#newLog),
      asleep: port.asleep,
      done,
      trace,
    };
    let wakeable = port.notifyCount;
    for (let i = 0; i < next.length && wakeable > 0; i++) {
      const sleeper = next[i] as ActorState;
      if (sleeper.asleep === undefined || sleeper.asleep !== notified) continue;
      next[i] = { ...sleeper, asleep: undefined, log: sleeper.log.after('ok', this.#newLog) };
      wakeable--;
    }
    return next;
  }
}

/** Replays `past`, performs one step for real, and stops the actor at the one after. */
class SteppingPort implements AtomicsPort {
  readonly #words: Words;
  readonly #past: readonly Result[];
  #replayed = 0;
  #what: string | undefined;
  #word = -1;
  #value = 0;
  /** Of the step performed; none while it sleeps. */
  result: Result | undefined;
  asleep: number | undefined;
  notified: number | undefined;
  notifyCount = 0;

  constructor(words: Words, past: readonly Result[]) {
    this.#words = words;
    this.#past = past;
  }

  describe(): string {
    if (this.#what === undefined) return 'ends';
    return `${this.#what}(${this.#value}) on ${this.#words.name(this.#word)} = ${this.result}`;
  }

  load(words: Int32Array, index: number): number {
    if (this.#replaying()) return this.#replay() as number;
    this.#begin('load', words, index, 0);
    return this.#end(Atomics.load(words, index));
  }

  store(words: Int32Array, index: number, value: number): number {
    if (this.#replaying()) return this.#replay() as number;
    this.#begin('store', words, index, value);
    return this.#end(Atomics.store(words, index, value));
  }

  add(words: Int32Array, index: number, value: number): number {
    if (this.#replaying()) return this.#replay() as number;
    this.#begin('add', words, index, value);
    return this.#end(Atomics.add(words, index, value));
  }

  sub(words: Int32Array, index: number, value: number): number {
    if (this.#replaying()) return this.#replay() as number;
    this.#begin('sub', words, index, value);
    return this.#end(Atomics.sub(words, index, value));
  }

  exchange(words: Int32Array, index: number, value: number): number {
    if (this.#replaying()) return this.#replay() as number;
    this.#begin('exchange', words, index, value);
    return this.#end(Atomics.exchange(words, index, value));
  }

  compareExchange(words: Int32Array, index: number, expected: number, replacement: number): number {
    if (this.#replaying()) return this.#replay() as number;
    this.#begin('compareExchange', words, index, replacement);
    return this.#end(Atomics.compareExchange(words, index, expected, replacement));
  }

  wait(words: Int32Array, index: number, value: number): 'ok' | 'not-equal' {
    if (this.#replaying()) return this.#replay() as 'ok' | 'not-equal';
    this.#begin('wait', words, index, value);
    if (Atomics.load(words, index) !== value) return this.#end('not-equal');
    this.asleep = this.#word;
    throw suspended;
  }

  notify(words: Int32Array, index: number, count = Number.POSITIVE_INFINITY): number {
    if (this.#replaying()) return this.#replay() as number;
    this.#begin('notify', words, index, 0);
    this.notified = this.#word;
    this.notifyCount = count;
    return this.#end(0);
  }

  #replaying(): boolean {
    return this.#replayed < this.#past.length;
  }

  #replay(): Result {
    return this.#past[this.#replayed++] as Result;
  }

  #begin(what: string, words: Int32Array, index: number, value: number): void {
    if (this.#what !== undefined) throw suspended;
    this.#word = this.#words.number(words, index);
    this.#what = what;
    this.#value = value;
  }

  #end<R extends Result>(result: R): R {
    this.result = result;
    return result;
  }
}

function stateKey(memory: readonly number[], actors: readonly ActorState[]): string {
  let key = memory.join();
  for (const { log, asleep, done } of actors)
    key += `|${log.id}${asleep === undefined ? '' : '~'}${done ? '.' : ''}`;
  return key;
}
