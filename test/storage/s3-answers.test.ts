/** What the S3 adapter sends, and what it makes of answers that no healthy server gives: a scripted HTTP server. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { S3Store } from '../../src/store/s3-store.ts';
import { crc32cForTests } from '../support/store-fixtures.ts';
import { code } from './store-contract.ts';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
}
type Answer = (request: Seen, response: ServerResponse) => void;

const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret' };
const xml = (name: string, inner: string): string =>
  `<?xml version="1.0" encoding="UTF-8"?><${name}>${inner}</${name}>`;
const failure = (name: string): string => xml('Error', `<Code>${name}</Code><Message>scripted</Message>`);

function send(
  response: ServerResponse,
  status: number,
  body = '',
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-length': String(Buffer.byteLength(body)), ...headers });
  response.end(body);
}

describe('S3 adapter before a scripted server', () => {
  let server: Server;
  let answer: Answer;
  const seen: Seen[] = [];
  const bodies: Buffer[] = [];
  let connections = 0;
  const open = (extra: object = {}): S3Store => {
    const { port } = server.address() as AddressInfo;
    const place = {
      bucket: 'b',
      prefix: 'p',
      endpoint: `http://127.0.0.1:${port}`,
      pathStyle: true,
      credentials,
    };
    return new S3Store({ ...place, ...extra }, crc32cForTests);
  };

  before(async () => {
    server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        bodies.push(Buffer.concat(chunks));
        const one = { method: request.method!, url: request.url!, headers: request.headers };
        seen.push(one);
        answer(one, response);
      });
    });
    server.on('connection', () => connections++);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  it('asks for no leave before a large body, and signs no payload', async () => {
    const store = open();
    seen.length = 0;
    answer = (_request, response) => send(response, 200, '', { etag: '"x"' });
    await store.put('large', [Buffer.alloc(3 << 20)]);
    assert.equal(seen[0]?.headers['expect'], undefined);
    assert.equal(seen[0]?.headers['x-amz-content-sha256'], 'UNSIGNED-PAYLOAD');
    assert.equal(seen[0]?.headers['content-length'], String(3 << 20));
    assert.ok(seen[0]?.headers['x-amz-checksum-crc32c'] !== undefined);
    await store.close();
  });

  it('keeps its connections, and no more of them than it may', async () => {
    const store = open({ maxSockets: 3 });
    connections = 0;
    answer = (_request, response) => setTimeout(() => send(response, 200, 'x'), 5);
    await Promise.all(Array.from({ length: 20 }, (_, i) => store.get(`k${i}`)));
    await Promise.all(Array.from({ length: 20 }, (_, i) => store.get(`k${i}`)));
    assert.equal(connections, 3);
    await store.close();
  });

  it('asks for the encryption it was told', async () => {
    const store = open({ encryption: 'aws:kms', kmsKeyId: 'key-1' });
    answer = (_request, response) => send(response, 200);
    await store.put('k', [Buffer.from('x')]);
    const { headers } = seen.at(-1)!;
    assert.equal(headers['x-amz-server-side-encryption'], 'aws:kms');
    assert.equal(headers['x-amz-server-side-encryption-aws-kms-key-id'], 'key-1');
    assert.equal(headers['x-amz-server-side-encryption-bucket-key-enabled'], 'true');
    await store.close();
  });

  /** Completes an upload of two parts; `complete` answers that request, `found` the look for the object. */
  async function completed(complete: Answer, found: Answer): Promise<string> {
    const store = open();
    answer = (request, response) => {
      if (request.method === 'POST' && request.url.includes('uploads'))
        return send(response, 200, xml('InitiateMultipartUploadResult', '<UploadId>u1</UploadId>'));
      if (request.method === 'PUT') return send(response, 200, '', { etag: '"part"' });
      if (request.method === 'POST') return complete(request, response);
      return found(request, response);
    };
    const upload = await store.multipart('m');
    await upload.uploadPart(1, [Buffer.alloc(100)]);
    await upload.uploadPart(2, [Buffer.alloc(11)]);
    const outcome = await code(upload.complete());
    await store.close();
    return outcome;
  }
  const isThere: Answer = (_request, response) => {
    response.writeHead(200, { 'content-length': '111', etag: '"abc-2"' });
    response.end();
  };
  const isNotThere: Answer = (_request, response) => send(response, 404);
  const isAnother: Answer = (_request, response) => {
    response.writeHead(200, { 'content-length': '111', etag: '"abc-3"' });
    response.end();
  };

  it('reads back when a complete is answered as if it had been one before', async () => {
    const gone: Answer = (_request, response) => send(response, 404, failure('NoSuchUpload'));
    assert.equal(await completed(gone, isThere), 'resolved');
    assert.equal(await completed(gone, isNotThere), 'invalid STORE_MISUSE');
    assert.equal(await completed(gone, isAnother), 'invalid STORE_MISUSE');
  });

  it('reads back when the answer to a complete is lost or an error inside a 200', async () => {
    const lost: Answer = (_request, response) => response.destroy();
    assert.equal(await completed(lost, isThere), 'resolved');
    assert.equal(await completed(lost, isNotThere), 'unavailable STORE_UNAVAILABLE');
    const inside: Answer = (_request, response) => send(response, 200, failure('InternalError'));
    assert.equal(await completed(inside, isThere), 'resolved');
    assert.equal(await completed(inside, isNotThere), 'unavailable STORE_UNAVAILABLE');
  });

  it('believes a clear refusal of a complete without a look', async () => {
    let looks = 0;
    const forbidden: Answer = (_request, response) => send(response, 403, failure('AccessDenied'));
    const outcome = await completed(forbidden, (_request, response) => {
      looks++;
      send(response, 404);
    });
    assert.equal(outcome, 'invalid STORE_FORBIDDEN');
    assert.equal(looks, 0);
  });

  it('does not take a body that was cut for the object', async () => {
    const store = open();
    answer = (_request, response) => {
      response.writeHead(200, { 'content-length': '10' });
      response.write('12345', () => response.destroy());
    };
    assert.equal(await code(store.get('k')), 'unavailable STORE_UNAVAILABLE');
    await store.close();
  });

  it('does not take another range, or the whole object, for the range it asked for', async () => {
    const store = open();
    answer = (_request, response) => send(response, 200, '0123456789');
    assert.equal(await code(store.get('k', { start: 4, end: 6 })), 'unavailable STORE_UNAVAILABLE');
    assert.equal(await code(store.getInto('k', 4, Buffer.alloc(2))), 'unavailable STORE_UNAVAILABLE');
    await store.close();
  });

  it('gives up on a server that falls silent within a body', async () => {
    const store = open({ requestTimeoutMs: 50 });
    answer = (_request, response) => {
      response.writeHead(200, { 'content-length': '10' });
      response.write('12345');
    };
    assert.equal(await code(store.get('k')), 'unavailable STORE_UNAVAILABLE');
    await store.close();
  });

  describe('lists', () => {
    const keys = (...names: string[]): string =>
      names.map((name) => `<Contents><Key>p/${name}</Key><Size>1</Size></Contents>`).join('');
    const page = (inner: string, next?: string): string =>
      xml(
        'ListBucketResult',
        next === undefined
          ? `<IsTruncated>false</IsTruncated>${inner}`
          : `<IsTruncated>true</IsTruncated>${next === '' ? '' : `<NextContinuationToken>${next}</NextContinuationToken>`}${inner}`,
      );
    /** Answers by the token that is asked with, '' = none; what was asked, in order. */
    const scripted = (pages: Readonly<Record<string, string>>): string[] => {
      const asked: string[] = [];
      answer = ({ url }, response) => {
        const query = new URL(url, 'http://h').searchParams;
        const token = query.get('continuation-token') ?? '';
        asked.push(token === '' ? `after ${query.get('start-after') ?? ''}` : token);
        // Who asks for ever is let off, and found out.
        send(response, 200, asked.length > 9 ? page('') : (pages[token] ?? failure('InvalidArgument')));
      };
      return asked;
    };
    const listed = async (limit?: number): Promise<string[]> => {
      const store = open();
      try {
        const options = { after: 'a', ...(limit === undefined ? {} : { limit }) };
        return (await store.list('', options)).map(({ key }) => key);
      } finally {
        await store.close();
      }
    };

    it('page by page as the server names them, empty ones too', async () => {
      const asked = scripted({
        '': page('', 'one'),
        one: page(keys('b', 'c'), 'two'),
        two: page('', 'three'),
        three: page(keys('d')),
      });
      assert.deepEqual(await listed(), ['b', 'c', 'd']);
      assert.deepEqual(asked, ['after p/a', 'one', 'two', 'three']);
    });

    it('to the limit and no further', async () => {
      const asked = scripted({ '': page(keys('b', 'c'), 'one') });
      assert.deepEqual(await listed(2), ['b', 'c']);
      assert.equal(asked.length, 1);
    });

    it('and gives up when pages repeat, or more is said to come from nowhere', async () => {
      for (const pages of [
        { '': page(keys('b'), 'one'), one: page(keys('c'), 'one') },
        { '': page('', 'one'), one: page('', 'two'), two: page('', 'one') },
        { '': page(keys('b'), '') },
        { '': page('', '') },
      ]) {
        scripted(pages);
        await assert.rejects(listed(), { code: 'STORE_UNAVAILABLE' });
      }
    });

    it('unfinished uploads likewise', async () => {
      const uploads = (inner: string, next?: string): string =>
        xml(
          'ListMultipartUploadsResult',
          next === undefined
            ? `<IsTruncated>false</IsTruncated>${inner}`
            : `<IsTruncated>true</IsTruncated><NextKeyMarker>${next}</NextKeyMarker>${inner}`,
        );
      const upload = (key: string): string =>
        `<Upload><Key>p/${key}</Key><UploadId>${key}</UploadId></Upload>`;
      const asked: string[] = [];
      let pages: Readonly<Record<string, string>> = {};
      answer = ({ url }, response) => {
        const marker = new URL(url, 'http://h').searchParams.get('key-marker') ?? '';
        asked.push(marker);
        send(response, 200, asked.length > 9 ? uploads('') : (pages[marker] ?? failure('InvalidArgument')));
      };
      const store = open();
      pages = {
        '': uploads('', 'p/m'),
        'p/m': uploads(upload('n') + upload('o'), 'p/o'),
        'p/o': uploads('', 'p/x'),
        'p/x': uploads(upload('y')),
      };
      const found = await store.listUploads('');
      assert.deepEqual(
        found.map(({ key }) => key),
        ['n', 'o', 'y'],
      );
      asked.length = 0;
      pages = { '': uploads('', 'p/m'), 'p/m': uploads('', 'p/m') };
      await assert.rejects(store.listUploads(''), { code: 'STORE_UNAVAILABLE' });
      await store.close();
    });
  });

  it('deletes with the checksum that every store knows', async () => {
    const store = open();
    seen.length = 0;
    bodies.length = 0;
    answer = (_request, response) => send(response, 200, xml('DeleteResult', ''));
    await store.delete(['gone', 'too']);
    const { headers } = seen[0]!;
    assert.equal(headers['content-md5'], createHash('md5').update(bodies[0]!).digest('base64'));
    assert.match(bodies[0]!.toString(), /p\/gone.*p\/too/);
    assert.deepEqual(
      Object.keys(headers).filter((name) => name.includes('checksum')),
      [],
    );
    await store.close();
  });

  it('gives up on a server that says nothing', async () => {
    const store = open({ requestTimeoutMs: 50 });
    answer = () => undefined;
    assert.equal(await code(store.get('k')), 'unavailable STORE_UNAVAILABLE');
    await store.close();
  });
});

describe('S3 adapter over TLS', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-ca-'));
  after(() => rmSync(directory, { recursive: true }));

  it('trusts the authority it is given, and says what to set otherwise', async (t) => {
    const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile];
    execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', ...subject], {
      stdio: 'ignore',
    });
    const certificate = readFileSync(certFile, 'utf8');
    const server = createTlsServer(
      { key: readFileSync(keyFile), cert: certificate },
      (_request, response) => {
        response.end('over TLS');
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const place = {
      bucket: 'b',
      prefix: '',
      endpoint: `https://127.0.0.1:${port}`,
      pathStyle: true,
      credentials,
    };
    const trusting = new S3Store({ ...place, ca: certificate }, crc32cForTests);
    assert.equal((await trusting.get('k')).toString(), 'over TLS');
    await trusting.close();
    const wary = new S3Store(place, crc32cForTests);
    await assert.rejects(wary.get('k'), /s3\.ca\.file/);
    await wary.close();
  });
});
