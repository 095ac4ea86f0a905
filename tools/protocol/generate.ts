/** From the schema texts to the generated files, without touching a disk: shared by the tool and its test. */

import { emitApiModule, emitStructureModule } from './emit-module.ts';
import {
  emitApiKeys,
  emitErrors,
  emitReference,
  emitRegistry,
  parseAdvertised,
  parseErrors,
  structureFiles,
} from './emit-tables.ts';
import { fileName } from './names.ts';
import { parseSchema } from './schema-parser.ts';

export const SCHEMA_DIRECTORY = 'src/protocol/schema';
export const GENERATED_DIRECTORY = 'src/protocol/generated';
export const REFERENCE_PATH = 'docs/reference/protocol.md';

/** Contents of the files in the schema directory. */
export interface SchemaTexts {
  readonly messages: string;
  readonly coordinatorRecords: string;
  readonly errors: string;
  readonly apiVersions: string;
}

export const SCHEMA_FILES: { readonly [key in keyof SchemaTexts]: string } = {
  messages: 'messages.schema',
  coordinatorRecords: 'coordinator-records.schema',
  errors: 'errors.tsv',
  apiVersions: 'api-versions.tsv',
};

/** Text of each generated file by its path from the repository's root. */
export function generateFiles(texts: SchemaTexts): Map<string, string> {
  const schema = parseSchema([texts.messages, texts.coordinatorRecords]);
  const advertised = parseAdvertised(texts.apiVersions);
  const files = new Map<string, string>();
  const add = (path: string, text: string): void => {
    if (files.has(path)) throw new Error(`two generated files named ${path}`);
    files.set(path, text);
  };
  for (const api of schema.apis) add(`${GENERATED_DIRECTORY}/${fileName(api.name)}.ts`, emitApiModule(api));
  for (const [path, list] of structureFiles(schema)) {
    add(`${GENERATED_DIRECTORY}/${path}`, emitStructureModule(list));
  }
  add(`${GENERATED_DIRECTORY}/errors.ts`, emitErrors(parseErrors(texts.errors)));
  add(`${GENERATED_DIRECTORY}/api-keys.ts`, emitApiKeys(schema, advertised));
  add(`${GENERATED_DIRECTORY}/registry.ts`, emitRegistry(schema));
  add(REFERENCE_PATH, emitReference(schema, advertised));
  return files;
}
