/**
 * A certificate's subject as Kafka prints it in principals: RFC 2253, the last name first, with the details of Java's
 * X500Principal.getName(). Kinds of names that RFC 2253 has no word for are told by number and in hexadecimal. Reads
 * only certificates that OpenSSL has taken; lengths are checked all the same. Shard thread.
 */

/** DER tags. */
const sequenceTag = 0x30;
const setTag = 0x31;
const oidTag = 0x06;
const versionTag = 0xa0;

const keywords: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
};

interface Element {
  readonly tag: number;
  /** Tag and length included. */
  readonly whole: Buffer;
  readonly content: Buffer;
}

/** Elements one behind the other. Throws RangeError for bytes that are no DER. */
function elements(bytes: Buffer): Element[] {
  const found: Element[] = [];
  let at = 0;
  while (at < bytes.length) {
    let next = at + 2;
    let length = bytes.readUInt8(at + 1);
    if (length >= 0x80) {
      const size = length & 0x7f;
      length = bytes.readUIntBE(next, size);
      next += size;
    }
    if (next + length > bytes.length) throw new RangeError('a DER element is cut short');
    found.push({
      tag: bytes[at]!,
      whole: bytes.subarray(at, next + length),
      content: bytes.subarray(next, next + length),
    });
    at = next + length;
  }
  return found;
}

function only(bytes: Buffer, tag: number): Buffer {
  const [first] = elements(bytes);
  if (first?.tag !== tag) throw new RangeError(`DER tag ${first?.tag}, ${tag} was due`);
  return first.content;
}

function oidText(content: Buffer): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    if (arcs.length > 0) arcs.push(arc);
    else arcs.push(Math.min(2, Math.floor(arc / 40)), arc - 40 * Math.min(2, Math.floor(arc / 40)));
    arc = 0;
  }
  return arcs.join('.');
}

/** Null for what is no text. */
function textOf({ tag, content }: Element): string | null {
  switch (tag) {
    case 0x0c:
      return content.toString('utf8');
    case 0x13:
    case 0x14:
    case 0x16:
    case 0x1b:
      return content.toString('latin1');
    case 0x1e:
      return Buffer.from(content).swap16().toString('utf16le');
    default:
      return null;
  }
}

function escaped(text: string): string {
  return text
    .replace(/[,=+<>#;"\\]|^ +| +$/g, (found) => found.replace(/./g, '\\$&'))
    .replaceAll('\0', '\\00');
}

function attribute(bytes: Buffer): string {
  const [kind, value] = elements(bytes);
  if (kind?.tag !== oidTag || value === undefined) throw new RangeError('a name without kind or value');
  const oid = oidText(kind.content);
  const keyword = keywords[oid];
  const text = keyword === undefined ? null : textOf(value);
  return text === null ? `${keyword ?? oid}=#${value.whole.toString('hex')}` : `${keyword}=${escaped(text)}`;
}

/** @param certificate DER. Throws RangeError for what is no certificate. */
export function subjectName(certificate: Buffer): string {
  const fields = elements(only(only(certificate, sequenceTag), sequenceTag));
  const subject = fields[(fields[0]?.tag === versionTag ? 1 : 0) + 4];
  if (subject?.tag !== sequenceTag) throw new RangeError('a certificate without a subject');
  return elements(subject.content)
    .map(({ tag, content }) => {
      if (tag !== setTag) throw new RangeError(`DER tag ${tag} in a name`);
      return elements(content)
        .map((pair) => attribute(pair.content))
        .join('+');
    })
    .reverse()
    .join(',');
}
