/**
 * Kafka's config values as its tools send them: plain text, checked the way Kafka does (KIP-226, KIP-339). Unlike
 * Millrace's own settings no units are understood here: a client that writes "1GB" means some other system.
 */
import type { KafkaType } from './setting-spec.ts';
import { parseList } from './values.ts';

export interface KafkaConfig {
  readonly name: string;
  readonly type: KafkaType;
  readonly default: string;
  readonly min?: number | bigint;
  readonly max?: number | bigint;
  /** Allowed beside the range. */
  readonly also?: number;
  /** The only values, or the only elements of a list. */
  readonly oneOf?: readonly string[];
  readonly pattern?: RegExp;
  /** Broker config whose value is inherited; null = none. */
  readonly broker: string | null;
  readonly doc: string;
}

const intMin = -(2n ** 31n);
const intMax = 2n ** 31n - 1n;
const longMin = -(2n ** 63n);
const longMax = 2n ** 63n - 1n;

/** What is wrong with the value, as the end of "Invalid value x for configuration y: …", or null. */
export function kafkaValueProblem(config: KafkaConfig, value: string): string | null {
  const trimmed = value.trim();
  switch (config.type) {
    case 'boolean':
      return /^(true|false)$/i.test(trimmed) ? null : 'Expected value to be either true or false';
    case 'int':
    case 'short':
    case 'long':
      return wholeProblem(config, trimmed);
    case 'double':
      return doubleProblem(config, trimmed);
    case 'list': {
      if (config.pattern !== undefined && !config.pattern.test(trimmed))
        return `it must match ${config.pattern.source}`;
      const stray = config.oneOf && parseList(value).find((item) => !config.oneOf!.includes(item));
      return stray === undefined ? null : `${stray} is none of ${config.oneOf!.join(', ')}`;
    }
    case 'string':
    case 'class':
    case 'password':
      if (config.oneOf === undefined || config.oneOf.includes(value)) return null;
      return `String must be one of: ${config.oneOf.join(', ')}`;
  }
}

function wholeProblem(config: KafkaConfig, text: string): string | null {
  if (!/^[+-]?\d{1,19}$/.test(text)) return `Not a number of type ${config.type.toUpperCase()}`;
  const value = BigInt(text.replace(/^\+/, ''));
  const isInt = config.type === 'int';
  if (value < (isInt ? intMin : longMin) || value > (isInt ? intMax : longMax)) {
    return `Not a number of type ${config.type.toUpperCase()}`;
  }
  if (config.also !== undefined && value === BigInt(config.also)) return null;
  if (config.min !== undefined && value < config.min) return `Value must be at least ${config.min}`;
  if (config.max !== undefined && value > config.max) return `Value must be no more than ${config.max}`;
  return null;
}

function doubleProblem(config: KafkaConfig, text: string): string | null {
  const value = text === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value)) return 'Not a number of type DOUBLE';
  if (config.min !== undefined && value < config.min) return `Value must be at least ${config.min}`;
  if (config.max !== undefined && value > config.max) return `Value must be no more than ${config.max}`;
  return null;
}
