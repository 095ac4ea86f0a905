/** The operator's commands as functions of a store's URL: they open it, work, and close it again. */
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import { portableCrc32c } from '../protocol/records/crc32c.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open-store.ts';
import { type DoctorReport, examine } from './doctor.ts';
import { doctorText } from './doctor-text.ts';
import { type BucketReport, type InspectOptions, inspectStore } from './inspect.ts';
import { inspectText } from './inspect-text.ts';

export interface OperatorTools {
  /** Rejects with STORE_URL (invalid) for what is no store's URL; everything else stands in the report. */
  doctor(url: string): Promise<DoctorReport>;
  doctorText(report: DoctorReport): string;
  /** Rejects when the store cannot be read at all. */
  inspect(url: string, options: InspectOptions): Promise<BucketReport>;
  inspectText(report: BucketReport): string;
}

export function operatorTools(ports: { readonly clock: Clock; readonly random: Random }): OperatorTools {
  const { crc32c } = portableCrc32c();
  const withStore = async <T>(
    url: string,
    readOnly: boolean,
    use: (store: ObjectStore) => Promise<T>,
  ): Promise<T> => {
    const store = await openStore(url, { ...ports, crc32c, readOnly });
    try {
      return await use(store);
    } finally {
      await store.close();
    }
  };
  return {
    doctor: (url) => withStore(url, false, (store) => examine(store, ports)),
    doctorText,
    inspect: (url, options) =>
      withStore(url, true, (store) => inspectStore(store, { ...ports, crc32c }, options)),
    inspectText,
  };
}
