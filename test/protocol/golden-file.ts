/** Reads the messages that the Java client wrote; test/protocol/java makes the files. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { CODECS, type TestCodec } from './codecs.ts';

export interface GoldenMessage {
  readonly codec: TestCodec;
  readonly version: number;
  readonly bytes: Buffer;
  /** Fields as Kafka's own converter shows them; null where the file has none. */
  readonly json: { readonly [field: string]: unknown } | null;
  /** For messages of failed assertions. */
  readonly label: string;
}

export type GoldenFile = 'golden-4.4.0' | 'golden-3.9.1';

export function readGolden(file: GoldenFile): GoldenMessage[] {
  const text = gunzipSync(readFileSync(`test/fixtures/protocol/${file}.tsv.gz`)).toString('utf8');
  const messages: GoldenMessage[] = [];
  for (const [index, line] of text.replace(/\n$/, '').split('\n').entries()) {
    const [className, version, bytes, json] = line.split('\t');
    const codec = CODECS.get(className!) ?? CODECS.get(className!.replace(/Data$/, ''));
    if (codec === undefined) throw new Error(`${file}:${index + 1}: no codec for ${className}`);
    messages.push({
      codec,
      version: Number(version),
      bytes: Buffer.from(bytes!, 'base64'),
      json: json === '' ? null : JSON.parse(json!),
      label: `${codec.name} v${version} (${file}:${index + 1})`,
    });
  }
  return messages;
}
