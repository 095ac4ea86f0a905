/**
 * Kafka's config values as its tools send them: plain text, checked the way Kafka does and refused in its words (KIP-226,
 * KIP-339). Unlike Millrace's own settings no units are understood here: a client that writes "1GB" means some other
 * system.
 */
import type { KafkaType } from './setting-spec.ts';

export interface KafkaRule {
  readonly name: string;
  readonly type: KafkaType;
  readonly min?: number | bigint;
  readonly max?: number | bigint;
  /** Allowed beside the range. */
  readonly also?: number;
  /** The only values, or the only elements of a list. */
  readonly oneOf?: readonly string[];
  /** `oneOf` in any case. */
  readonly anyCase?: boolean;
  /** What the whole value must match, and what to say otherwise. */
  readonly pattern?: { readonly matches: RegExp; readonly otherwise: string };
}

export interface KafkaConfig extends KafkaRule {
  /** Null = no value. */
  readonly default: string | null;
  /** Broker config whose value is inherited; null = none. */
  readonly broker: string | null;
  readonly doc: string;
  /** Listed only where it is set, as Kafka does with configs that it has not published. */
  readonly internal?: true;
}

const bounds = {
  short: [-(2n ** 15n), 2n ** 15n - 1n],
  int: [-(2n ** 31n), 2n ** 31n - 1n],
  long: [-(2n ** 63n), 2n ** 63n - 1n],
} as const;

/** What is wrong with the value, as a sentence for the client, or null. */
export function kafkaValueProblem(rule: KafkaRule, value: string): string | null {
  const { name, type } = rule;
  const trimmed = value.trim();
  const refused = (why: string, of = value): string =>
    `Invalid value ${of} for configuration ${name}: ${why}`;
  switch (type) {
    case 'boolean':
      return /^(true|false)$/i.test(trimmed) ? null : refused('Expected value to be either true or false');
    case 'int':
    case 'short':
    case 'long': {
      const whole = wholeNumber(trimmed, type);
      const why = whole === null ? `Not a number of type ${type.toUpperCase()}` : rangeProblem(rule, whole);
      return why === null ? null : refused(why);
    }
    case 'double': {
      const number = trimmed === '' ? Number.NaN : Number(trimmed);
      const why = Number.isFinite(number) ? rangeProblem(rule, number) : 'Not a number of type DOUBLE';
      return why === null ? null : refused(why);
    }
    case 'list': {
      const items = trimmed === '' ? [] : value.split(',').map((item) => item.trim());
      if (items.includes('')) return `Configuration '${name}' values must not be empty.`;
      const { pattern } = rule;
      if (pattern !== undefined && !pattern.matches.test(trimmed))
        return refused(pattern.otherwise, `[${items.join(', ')}]`);
      const stray = items.find((item) => !isOneOf(rule, item));
      return stray === undefined ? null : refused(oneOfText(rule), stray);
    }
    case 'class':
      // There are no classes to load here.
      return trimmed === '' ? null : refused(`Class ${trimmed} could not be found.`);
    case 'string':
    case 'password':
      if (rule.pattern !== undefined && !rule.pattern.matches.test(trimmed))
        return refused(rule.pattern.otherwise);
      return isOneOf(rule, value) ? null : refused(oneOfText(rule));
  }
}

function isOneOf({ oneOf, anyCase }: KafkaRule, value: string): boolean {
  if (oneOf === undefined) return true;
  return oneOf.some(
    (each) => each === value || (anyCase === true && each.toLowerCase() === value.toLowerCase()),
  );
}

function oneOfText({ oneOf, anyCase }: KafkaRule): string {
  const how = anyCase === true ? 'String must be one of (case insensitive)' : 'String must be one of';
  return `${how}: ${oneOf!.join(', ')}`;
}

function wholeNumber(text: string, type: keyof typeof bounds): bigint | null {
  if (!/^[+-]?\d{1,19}$/.test(text)) return null;
  const value = BigInt(text.replace(/^\+/, ''));
  const [least, most] = bounds[type];
  return value < least || value > most ? null : value;
}

function rangeProblem({ min, max, also }: KafkaRule, value: number | bigint): string | null {
  const below = min !== undefined && value < min;
  const above = max !== undefined && value > max;
  if (also !== undefined) {
    return value === BigInt(also) || (!below && !above)
      ? null
      : `Value must be between ${min} and ${max} or equal to ${also}`;
  }
  if (below) return `Value must be at least ${min}`;
  return above ? `Value must be no more than ${max}` : null;
}
