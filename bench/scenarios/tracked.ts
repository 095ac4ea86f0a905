/** Short words for what variants track. */
import type { FigureName } from '../harness/figures.ts';
import type { Tracked } from '../harness/schema.ts';

/** Costs: Millrace's in terms of Apache Kafka's, at most the floor. */
export function costs(figure: FigureName, floor: number | null = null, goal: number | null = null): Tracked {
  return { figure, better: 'lower', against: 'kafka', floor, goal };
}

/** Throughput: Millrace's in terms of Apache Kafka's, at least the floor. */
export function gives(figure: FigureName, floor: number | null = null, goal: number | null = null): Tracked {
  return { figure, better: 'higher', against: 'kafka', floor, goal };
}

/** A number of Millrace's own, at most so much. */
export function atMost(figure: FigureName, floor: number | null = null, goal: number | null = null): Tracked {
  return { figure, better: 'lower', against: 'itself', floor, goal };
}
