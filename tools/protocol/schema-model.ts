/** What the schema files say, as data: the input of the code generator and of the tests that build random messages. */

/** An inclusive range of versions. */
export interface VersionRange {
  readonly min: number;
  /** Infinity for an open range. */
  readonly max: number;
}

export type PrimitiveType =
  | 'i8'
  | 'i16'
  | 'u16'
  | 'i32'
  | 'u32'
  | 'i64'
  | 'f64'
  | 'bool'
  | 'uuid'
  | 'str'
  | 'bytes'
  | 'recs';

/** A field's default: null, or the text of a number or truth value; undefined where the type's own zero applies. */
export type DefaultText = string | null | undefined;

export interface FieldModel {
  /** As in the schema, e.g. TopicId. */
  readonly name: string;
  /** A primitive, or the name of a struct of the same message. */
  readonly type: string;
  readonly array: boolean;
  readonly versions: VersionRange;
  readonly nullable: VersionRange | null;
  readonly ignorable: boolean;
  readonly mapKey: boolean;
  readonly defaultText: DefaultText;
  readonly tag: number | null;
  /** False where a flexible version still uses the plain encoding. */
  readonly flexible: boolean;
  readonly hint: string | null;
}

export interface StructModel {
  readonly name: string;
  /** Versions in which the struct can occur. */
  readonly versions: VersionRange;
  readonly fields: FieldModel[];
}

/** One top-level structure: a request, a response, a header, a data structure, a coordinator record. */
export interface MessageModel {
  readonly name: string;
  readonly versions: VersionRange;
  /** First flexible version; Infinity if there is none. */
  readonly flexibleFrom: number;
  readonly root: StructModel;
  /** Structs by schema name, in order of appearance. */
  readonly structs: ReadonlyMap<string, StructModel>;
}

export interface ApiModel {
  readonly key: number;
  readonly name: string;
  readonly listeners: 'B' | 'C' | 'BC';
  /** The newest version is not advertised by default. */
  readonly unstable: boolean;
  readonly remarks: readonly string[];
  /** Error codes the definition names for the response, as written. */
  readonly errorsNamed: string | null;
  readonly request: MessageModel;
  readonly response: MessageModel;
}

export interface StructureModel {
  readonly kind: 'header' | 'data' | 'coordinator-key' | 'coordinator-value';
  /** Record type of a coordinator record. */
  readonly recordType: number | null;
  /** Internal topic of a coordinator record. */
  readonly topic: string | null;
  readonly remarks: readonly string[];
  readonly message: MessageModel;
}

export interface SchemaModel {
  readonly apis: readonly ApiModel[];
  readonly structures: readonly StructureModel[];
}

export function isPrimitive(type: string): type is PrimitiveType {
  return /^[a-z]/.test(type);
}

export function contains(range: VersionRange, version: number): boolean {
  return version >= range.min && version <= range.max;
}

export function intersect(a: VersionRange, b: VersionRange): VersionRange {
  return { min: Math.max(a.min, b.min), max: Math.min(a.max, b.max) };
}

export function isEmpty(range: VersionRange): boolean {
  return range.min > range.max;
}

/** 'a', 'a-b' or 'a+'. */
export function parseRange(text: string): VersionRange {
  const match = /^(\d+)(?:-(\d+)|(\+))?$/.exec(text);
  if (match === null) throw new Error(`not a version range: '${text}'`);
  const min = Number(match[1]);
  const max = match[3] !== undefined ? Infinity : match[2] !== undefined ? Number(match[2]) : min;
  return { min, max };
}
