/** The machine's own limits, measured once a run by native/calibrate; skipped by name where it cannot be compiled. */
import { spawnSync } from 'node:child_process';
import { nativeProgram } from '../clients/native-program.ts';
import { baseOf } from '../systems/places.ts';
import type { Place } from '../systems/system.ts';
import type { Calibration } from './schema.ts';

const limitMs = 120_000;

const nothing = (reason: string): Calibration => ({
  missing: [reason],
  device: [],
  sustainedMbPerSecond: 0,
  memory: [],
  loopback: null,
});

/** @param secondsEach of each size and each kind: 17 of them, and 16 times that for what lasts. */
export function calibrate(place: Place, secondsEach: number): Calibration {
  const program = nativeProgram('calibrate');
  if ('missing' in program) return nothing(program.missing);
  const { status, stdout, stderr } = spawnSync(program.path, [baseOf(place), String(secondsEach)], {
    encoding: 'utf8',
    timeout: limitMs,
  });
  if (status !== 0) return nothing(`calibration ended with ${status}: ${stderr.slice(-200)}`);
  return JSON.parse(stdout) as Calibration;
}
