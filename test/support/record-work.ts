/** Unpacks batches as an embedded broker does: in turns of the one loop, without a worker. */
import { RecordWork } from '../../src/log/record-work.ts';
import type { Arena } from '../../src/ports/arena.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import { recordTaskContext } from '../../src/protocol/records/record-tasks.ts';
import { portableRecordWalk } from '../../src/protocol/records/record-walk.ts';

export function loopRecordWork(arena: Arena, clock: Pick<Clock, 'soon'>): RecordWork {
  const context = recordTaskContext({ arena, codecs: createCodecs(), walk: portableRecordWalk });
  return new RecordWork({ arena, clock, context, worker: null, workerTasksMax: 0 });
}
