/**
 * Exhaustive search of a protocol's states, breadth first: every order of steps that a small instance allows. States are plain
 * values, told apart by their JSON. Memory: about a kilobyte a state.
 */

export interface Protocol<S> {
  readonly initial: S;
  /** All that may happen next, each with a state of its own; the given one stays as it is. */
  steps(state: S): readonly (readonly [name: string, next: S])[];
  /** What is wrong in this state; '' = nothing. */
  violation(state: S): string;
}

export interface SearchResult {
  readonly states: number;
  readonly transitions: number;
  /** Steps of the longest of the shortest ways to any state, or to the violation. */
  readonly depth: number;
  /** False when the bound on states ended the search. */
  readonly exhausted: boolean;
  /** '' = none. */
  readonly violation: string;
  /** The shortest way to the violation. */
  readonly trace: readonly string[];
}

export function search<S>(protocol: Protocol<S>, statesMax: number): SearchResult {
  const states: (S | null)[] = [protocol.initial];
  const seen = new Set([JSON.stringify(protocol.initial)]);
  const parents: number[] = [-1];
  const names: string[] = [''];
  const depths: number[] = [0];
  let transitions = 0;
  const result = (at: number, exhausted: boolean, violation: string): SearchResult => {
    const trace: string[] = [];
    for (let i = at; violation !== '' && i > 0; i = parents[i]!) trace.unshift(names[i]!);
    return { states: states.length, transitions, depth: depths[at]!, exhausted, violation, trace };
  };
  for (let at = 0; at < states.length; at++) {
    const state = states[at]!;
    states[at] = null;
    const violation = protocol.violation(state);
    if (violation !== '') return result(at, false, violation);
    for (const [name, next] of protocol.steps(state)) {
      transitions++;
      const key = JSON.stringify(next);
      if (seen.has(key)) continue;
      if (states.length >= statesMax) return result(at, false, '');
      seen.add(key);
      states.push(next);
      parents.push(at);
      names.push(name);
      depths.push(depths[at]! + 1);
    }
  }
  return result(states.length - 1, true, '');
}
