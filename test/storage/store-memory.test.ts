import { MemoryStore } from '../../src/store/memory-store.ts';
import { partRules } from '../../src/store/object-store.ts';
import { InsistingStore } from '../support/insisting-store.ts';
import { HandClock } from '../support/store-fixtures.ts';
import { storeContract } from './store-contract.ts';

storeContract('memory', async () => ({ store: new MemoryStore(new HandClock()), stop: async () => {} }));

for (const rule of partRules)
  storeContract(`memory that takes as parts: ${rule}`, async () => ({
    store: new InsistingStore(new MemoryStore(new HandClock()), rule),
    stop: async () => {},
  }));
