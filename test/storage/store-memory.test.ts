import { MemoryStore } from '../../src/store/memory-store.ts';
import { HandClock } from '../support/store-fixtures.ts';
import { storeContract } from './store-contract.ts';

storeContract('memory', async () => ({ store: new MemoryStore(new HandClock()), stop: async () => {} }));
