import assert from 'node:assert/strict';
import { test } from 'node:test';
import { billedRequests, loopTurns, parsePage, storeTraffic } from '../../../bench/recorder/metrics-page.ts';
import {
  commOfStat,
  cpuSecondsOfSchedstat,
  cpuSecondsOfStat,
  cpuTimesOf,
  diskBytesOf,
  numberOf,
  receivedBytesOf,
} from '../../../bench/recorder/proc-text.ts';
import type { Mark } from '../../../bench/recorder/recorder.ts';
import { roleOf, threadNamesOfDump } from '../../../bench/recorder/roles.ts';
import { usageBetween } from '../../../bench/recorder/usage.ts';

test('a thread whose name holds spaces and parentheses is read right', () => {
  const stat = '123 (odd ) name (x)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 99';
  assert.equal(commOfStat(stat), 'odd ) name (x)');
  assert.equal(cpuSecondsOfStat(stat), 3);
  assert.equal(cpuSecondsOfSchedstat('1500000000 20 300'), 1.5);
});

test('processor time of the machine is busy, idle or taken by the host', () => {
  const times = cpuTimesOf('cpu  100 20 30 1000 50 1 2 40 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n');
  assert.deepEqual(times, { busy: 1.53, idle: 10.5, steal: 0.4 });
});

test('bytes of loopback and of whole disks', () => {
  const net =
    'Inter-|   Receive\n face |bytes\n    lo: 12345 6 0 0 0 0 0 0 12345 6\n  eth0: 9 1 0 0 0 0 0 0 8 1\n';
  assert.equal(receivedBytesOf(net, 'lo'), 12345);
  assert.equal(receivedBytesOf(net, 'lo0'), 0);
  const disks = ' 254 0 vda 10 0 100 0 20 0 300 0 0 0 0\n 254 1 vda1 1 0 7 0 1 0 9 0 0 0 0\n';
  assert.deepEqual(diskBytesOf(disks, 'vda'), { read: 51200, written: 153600 });
  assert.deepEqual(diskBytesOf(disks, ''), { read: 0, written: 0 });
  assert.equal(numberOf('VmRSS:\t  2048 kB\nThreads:\t9\n', 'VmRSS'), 2048);
});

test('threads are told by role; the names of a JVM come from its dump', () => {
  assert.equal(roleOf('millrace', 'shard 0', false), 'shards');
  assert.equal(roleOf('millrace', 'node', true), 'main');
  assert.equal(roleOf('millrace', 'node', false), 'Node and V8');
  const names = threadNamesOfDump(
    '"data-plane-kafka-request-handler-0" #51 daemon prio=5 os_prio=0 cpu=1ms elapsed=1s tid=0x1 nid=0x1a waiting\n' +
      '"C2 CompilerThread0" #6 daemon prio=9 os_prio=0 tid=0x2 nid=27 waiting\n',
  );
  assert.equal(roleOf('kafka', names.get(26)!, false), 'request handlers');
  assert.equal(roleOf('kafka', names.get(27)!, false), 'JIT compilers');
});

test('a window has the time of each role, and what the machine did besides', () => {
  const mark = (atMs: number, cpu: number, busy: number, threads: readonly [number, number][]): Mark => ({
    atMs,
    cpuSeconds: cpu,
    threads: new Map(
      threads.map(([tid, seconds]) => [
        tid,
        { comm: `t${tid}`, cpuSeconds: seconds, voluntary: 3, involuntary: 1 },
      ]),
    ),
    rssBytes: 5,
    readBytes: 0,
    writtenBytes: 100 * atMs,
    machine: { busy, idle: 10, steal: 0.2 },
    loopbackBytes: 0,
    disk: { read: 0, written: 0 },
  });
  const usage = usageBetween(
    mark(0, 1, 10, [[1, 0.5]]),
    mark(2000, 2.01, 13, [
      [1, 1],
      [2, 0.5],
    ]),
    {
      roleOf: (tid) => (tid === 1 ? 'old' : 'new'),
      loadCpuSeconds: 0.5,
      rssPeakBytes: 4,
    },
  );
  assert.equal(usage.seconds, 2);
  assert.equal(usage.cpuSeconds, 1, 'threads are exact, the process ticks');
  assert.deepEqual(usage.roles, { old: 0.5, new: 0.5 });
  assert.equal(usage.voluntarySwitches, 3, 'a new thread counts from nothing');
  assert.equal(usage.rssPeakBytes, 5);
  assert.equal(usage.elsewhereCpuSeconds, 1.5);
});

test('requests of a store are those between two pages, by what they are billed as', () => {
  const before = parsePage('# HELP x\nmillrace_store_requests_total{operation="put"} 2\n');
  const after = parsePage(
    [
      'millrace_store_requests_total{operation="put"} 5',
      'millrace_store_requests_total{operation="part"} 4',
      'millrace_store_requests_total{operation="get"} 6',
      'millrace_store_requests_total{operation="delete"} 9',
      'millrace_store_sent_bytes_total 100',
      'millrace_event_loop_delay_seconds{thread="shard 0",quantile="0.99"} 0.002',
      'millrace_event_loop_delay_seconds{thread="shard 0",quantile="1"} 0.004',
      'millrace_event_loop_delay_seconds{thread="main",quantile="1"} 0.003',
    ].join('\n'),
  );
  const traffic = storeTraffic(before, after);
  assert.deepEqual(traffic.requests, { put: 3, part: 4, get: 6, delete: 9 });
  assert.deepEqual(billedRequests(traffic), { puts: 7, gets: 6 });
  assert.deepEqual(loopTurns(after), { p99Ms: 2, maxMs: 4 });
  assert.equal(loopTurns(before), null);
});
