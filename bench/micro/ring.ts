/** Rings between threads: descriptors through one thread's two ends, and the CRC of the addon beside the portable one. */
import { loadNative } from '../../native-bindings/index.ts';
import { portableCrc32c } from '../../src/protocol/records/crc32c.ts';
import {
  createRingMemory,
  LocalRing,
  Ring,
  type RingConsumer,
  type RingProducer,
} from '../../src/threads/memory/ring.ts';
import { type MicroFigure, type MicroTask, runTasks } from './tasks.ts';

const slots = 1024;
const slotWords = 16;
const burst = 64;

function descriptors(producer: RingProducer, consumer: RingConsumer): () => void {
  let sum = 0;
  return () => {
    for (let i = 0; i < burst; i++) {
      const at = producer.reserve();
      for (let w = 0; w < 8; w++) producer.words[at + w] = i + w;
    }
    producer.publish();
    const there = consumer.available();
    for (let i = 0; i < there; i++) sum += consumer.words[consumer.at(i)]!;
    consumer.consume(there);
    if (sum < 0) throw new Error('the ring lost a descriptor');
  };
}

export async function run(): Promise<MicroFigure[]> {
  const memory = createRingMemory(slots, slotWords);
  const local = new LocalRing(slots, slotWords);
  const block = Buffer.from(new SharedArrayBuffer(256 * 1024));
  const { crc32c } = portableCrc32c();
  const native = loadNative();
  const tasks: MicroTask[] = [
    {
      name: `shared ring, bursts of ${burst}`,
      bytesPerOp: 0,
      opsPerCall: burst,
      act: descriptors(new Ring(memory), new Ring(memory)),
    },
    {
      name: `local ring, bursts of ${burst}`,
      bytesPerOp: 0,
      opsPerCall: burst,
      act: descriptors(local, local),
    },
    {
      name: 'crc32c of 256 KiB, portable',
      bytesPerOp: block.length,
      act: () => {
        crc32c(block, 0, block.length);
      },
    },
  ];
  if (native !== null) {
    tasks.push({
      name: 'crc32c of 256 KiB, addon',
      bytesPerOp: block.length,
      act: () => {
        native.crc32c(block, 0, block.length, 0);
      },
    });
  }
  return runTasks(tasks);
}
