import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { resolveSettings } from '../../../src/config/settings.ts';
import { storeUrlOf } from '../../../src/config/store-url.ts';
import { parseS3Url } from '../../../src/store/s3-url.ts';

const parse = (text: string) => parseS3Url(new URL(text));

function urlWith(values: Readonly<Record<string, string>>): string {
  const flags = Object.entries(values).map(([name, value]) => ({ name, value, origin: '--set' }));
  const machine = { memoryBytes: 8 * 2 ** 30, cores: 4 };
  return storeUrlOf(resolveSettings({ profile: 'start', machine, directory: '/srv', flags }).settings);
}

describe('URL of an S3 store', () => {
  it('says bucket, prefix and every setting of the adapter', () => {
    assert.deepEqual(
      parse(
        's3://b.c/p/q/?endpoint=https%3A%2F%2Fh%3A9000&region=eu-1&pathStyle=true&encryption=aws:kms&kmsKeyId=k' +
          '&caFile=/ca.pem&parts=equal&maxSockets=7&connectTimeoutMs=100&requestTimeoutMs=2000',
      ),
      {
        bucket: 'b.c',
        prefix: 'p/q',
        endpoint: 'https://h:9000',
        region: 'eu-1',
        pathStyle: true,
        encryption: 'aws:kms',
        kmsKeyId: 'k',
        caFile: '/ca.pem',
        parts: 'equal',
        maxSockets: 7,
        connectTimeoutMs: 100,
        requestTimeoutMs: 2000,
      },
    );
  });

  it('refuses what it does not know', () => {
    const wrong = [
      's3://b/?maxSockets=0',
      's3://b/?maxSockets=many',
      's3://b/?parts=some',
      's3://b/?region=a&region=b',
      's3://b/?kmsKeyId=k',
    ];
    for (const text of wrong) assert.throws(() => parse(text), { code: 'STORE_URL' }, text);
  });

  it('takes the settings along, and what it says itself wins', () => {
    const plain = parse(urlWith({ 'store.url': 's3://b/p' }));
    assert.deepEqual(plain, {
      bucket: 'b',
      prefix: 'p',
      maxSockets: 64,
      connectTimeoutMs: 3000,
      requestTimeoutMs: 30000,
    });
    const full = parse(
      urlWith({
        'store.url': 's3://b/p?region=mine&pathStyle=false',
        's3.endpoint': 'http://h:1',
        's3.region': 'other',
        's3.path.style': 'true',
        's3.encryption': 'aws:kms',
        's3.kms.key.id': 'arn:x/y',
        's3.ca.file': 'ca.pem',
        's3.parts': 'written',
        's3.max.sockets': '3',
      }),
    );
    assert.equal(full.region, 'mine');
    assert.equal(full.pathStyle, false);
    assert.equal(full.endpoint, 'http://h:1');
    assert.equal(full.encryption, 'aws:kms');
    assert.equal(full.kmsKeyId, 'arn:x/y');
    assert.equal(full.caFile, '/srv/ca.pem');
    assert.equal(full.parts, 'written');
    assert.equal(full.maxSockets, 3);
  });

  it('leaves other stores alone, and refuses a key without its encryption', () => {
    assert.equal(urlWith({ 'store.url': 'file:///x', 's3.region': 'r' }), 'file:///x');
    assert.throws(() => urlWith({ 'store.url': 's3://b', 's3.kms.key.id': 'k' }), /s3\.encryption/);
    assert.throws(() => urlWith({ 's3.endpoint': 'ftp://h' }), /s3\.endpoint/);
  });
});
