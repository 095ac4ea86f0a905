/** A store that takes fewer kinds of parts than S3 does, and refuses the others when an upload is completed, or at the copy. */
import type { MultipartUpload, ObjectStore, PartRule } from '../../src/store/object-store.ts';
import { misuse } from '../../src/store/store-errors.ts';
import { PassingStore } from './fault-store.ts';

export class InsistingStore extends PassingStore {
  readonly #insists: PartRule;
  readonly #says: PartRule;
  /** Sizes of the parts of each completed upload, by key. */
  readonly completed = new Map<string, readonly number[]>();
  copies = 0;

  constructor(inner: ObjectStore, insists: PartRule, says: PartRule = insists) {
    super(inner);
    this.#insists = insists;
    this.#says = says;
  }

  /** What it says of itself. */
  override get partRule(): PartRule {
    return this.#says;
  }

  override async multipart(key: string): Promise<MultipartUpload> {
    const upload = await this.inner.multipart(key);
    const sizes = new Map<number, number>();
    return {
      uploadPart: async (number, body) => {
        sizes.set(
          number,
          body.reduce((sum, { length }) => sum + length, 0),
        );
        await upload.uploadPart(number, body);
      },
      copyPart: async (number, sourceKey, start, end) => {
        if (this.#insists === 'written') throw misuse('NotImplemented: no copies of parts');
        this.copies++;
        sizes.set(number, end - start);
        await upload.copyPart(number, sourceKey, start, end);
      },
      complete: async () => {
        const inOrder = [...sizes].sort((a, b) => a[0] - b[0]).map(([, size]) => size);
        const [first = 0] = inOrder;
        const last = inOrder.at(-1) ?? 0;
        if (this.#insists !== 'any' && (last > first || inOrder.slice(0, -1).some((size) => size !== first)))
          throw misuse(`InvalidPart: all but the last must have the same length, not ${inOrder.join(', ')}`);
        await upload.complete();
        this.completed.set(key, inOrder);
      },
      abort: () => upload.abort(),
    };
  }
}
