/** Planted bugs of a cluster's metadata in etcd, its membership, the bucket's journal, and what waits for it. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const storeTest = 'test/unit/metadata/etcd/etcd-metadata-store.test.ts';
const membershipTest = 'test/unit/metadata/etcd/etcd-membership.test.ts';
const journalTest = 'test/unit/metadata/etcd/bucket-journal.test.ts';

export const etcdMutants: readonly Mutant[] = [
  {
    name: 'an entry is appended where its key is free, whatever was trimmed',
    file: 'metadata/etcd/etcd-log.js',
    find: "{ key: layout.head, target: 'mod', is: '=', value: headMod },",
    replace: "{ key: layout.log(first), target: 'create', is: '=', value: 0 },",
    judge: storeTest,
  },
  {
    name: 'any entry that is folded while one is appended is taken for that one',
    file: 'metadata/etcd/etcd-log.js',
    find: 'if (pending.nonce.equals(nonce))',
    replace: 'if (true)',
    judge: storeTest,
  },
  {
    name: 'an entry may name parts that are gone',
    file: 'metadata/etcd/etcd-log.js',
    find: "target: 'create', is: '>', value: 0",
    replace: "target: 'version', is: '>', value: -1",
    judge: storeTest,
  },
  {
    name: 'contact with etcd counts from the answer',
    file: 'metadata/etcd/etcd-log.js',
    find: 'sent(sentAt);',
    replace: 'sent(clock.boottime());',
    judge: storeTest,
  },
  {
    name: 'a gap in the log of the metadata is read over',
    file: 'metadata/etcd/etcd-log.js',
    find: 'if (found > asked)',
    replace: 'if (false)',
    judge: storeTest,
  },
  {
    name: 'a commit that lost its race is not checked again',
    file: 'metadata/etcd/etcd-metadata-store.js',
    find: 'this.#queue.putBack(batch);',
    replace: 'for (const each of batch.members) each.resolve(this.image.revision);',
    judge: 'test/unit/metadata/metadata-contract.test.ts',
  },
  {
    name: 'a broker that is registered anew elsewhere goes on',
    file: 'metadata/etcd/etcd-metadata-store.js',
    find: 'if (own === undefined)',
    replace: 'if (true)',
    judge: storeTest,
  },
  {
    name: 'a lease counts from the answer',
    file: 'metadata/etcd/etcd-membership.js',
    find: 'this.#extend(sentAt, seconds);',
    replace: 'this.#extend(this.#options.clock.boottime(), seconds);',
    judge: membershipTest,
  },
  {
    name: 'the view of a lost etcd is kept for ever',
    file: 'metadata/etcd/etcd-membership.js',
    find: 'if (revision < known)',
    replace: 'if (false)',
    judge: membershipTest,
  },
  {
    name: 'late word of a former lease ends the present one',
    file: 'metadata/etcd/etcd-membership.js',
    find: 'revision > joinedAt',
    replace: 'true',
    judge: membershipTest,
  },
  {
    name: 'the bucket’s journal is told of before it holds anything',
    file: 'metadata/etcd/bucket-journal.js',
    find: 'await term.journal.append(bytes);',
    replace: 'term.journal.append(bytes).catch(() => { });',
    judge: journalTest,
  },
  {
    name: 'the copy passes the revision of the snapshot that is due',
    file: 'metadata/etcd/bucket-journal.js',
    find: 'commits >= most ||',
    replace: '',
    judge: journalTest,
  },
  {
    name: 'etcd’s log is trimmed without a snapshot',
    file: 'metadata/etcd/bucket-journal.js',
    find: 'if (stored && !term.over)',
    replace: 'if (!term.over)',
    judge: journalTest,
  },
  {
    name: 'etcd’s log keeps nothing for those who follow it',
    file: 'metadata/etcd/bucket-journal.js',
    find: 'covered - keepRevisions + 1',
    replace: 'covered + 1',
    judge: journalTest,
  },
  {
    name: 'a former leader goes on in a journal that was made anew',
    file: 'metadata/etcd/bucket-journal.js',
    find: 'image.authority.incarnation === incarnation',
    replace: 'true',
    judge: journalTest,
  },
  {
    name: 'a log is trimmed before the bucket holds what frees it',
    file: 'ownership/wal-trims.js',
    find: 'await metadata.persisted(revision);',
    replace: '',
    judge: 'test/unit/ownership/upload-coordinator.test.ts',
  },
  {
    name: 'objects are deleted before the bucket holds that nothing names them',
    file: 'upkeep/object-sweep.js',
    find: 'await metadata.persisted(metadata.image.revision);',
    replace: '',
    judge: 'test/unit/upkeep/object-sweep.test.ts',
  },
  {
    name: 'an object WAL is swept before the bucket holds that it ended',
    file: 'upkeep/wal-sweep.js',
    find: 'await metadata.persisted(await metadata.commit([]));',
    replace: 'await metadata.commit([]);',
    judge: 'test/unit/upkeep/wal-sweep.test.ts',
  },
  {
    name: 'the file of a drained log goes before the bucket holds where its records are',
    file: 'volumes/wal-records.js',
    find: 'await metadata.persisted(metadata.image.revision);',
    replace: '',
    judge: 'test/unit/volumes/retire-predecessors.test.ts',
  },
  {
    name: 'the file of a lost broker’s log goes before the bucket holds where its records are',
    file: 'ownership/recover-claimed.js',
    find: 'await metadata.persisted(await metadata.commit([...closes',
    replace: 'await (await metadata.commit([...closes',
    judge: 'test/cluster/persisted.test.ts',
  },
];
