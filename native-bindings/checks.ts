/** Argument checks shared by the native addon's thin wrapper and the portable twins. */
import { getSystemErrorName } from 'node:util';

/** Throws unless [position, position + length) lies inside `available` bytes. */
export function checkRange(available: number, position: number, length: number): void {
  if (
    !(position >= 0 && length >= 0 && position + length <= available) ||
    !Number.isInteger(position) ||
    !Number.isInteger(length)
  ) {
    throw new RangeError(`range ${position}+${length} is outside the ${available} bytes of the buffer`);
  }
}

export function checkInteger(name: string, value: number, min: number, max: number): void {
  if (!(Number.isInteger(value) && value >= min && value <= max)) {
    throw new RangeError(`${name} must be an integer from ${min} to ${max}, not ${value}`);
  }
}

const FD_MAX = 2 ** 31 - 1;

export function checkFd(fd: number): void {
  checkInteger('fd', fd, 0, FD_MAX);
}

export function checkBytes(buffer: Uint8Array): void {
  if (!(buffer instanceof Uint8Array)) throw new TypeError('expected a Uint8Array');
}

/** The error of a system call that answered -errno, shaped like those of node:fs. */
export function systemError(syscall: string, answer: number, subject = ''): Error {
  const code = getSystemErrorName(answer);
  const error = new Error(`${code}: ${syscall}${subject === '' ? '' : ` ${subject}`}`);
  return Object.assign(error, { code, errno: answer, syscall });
}

/** ECONNRESET for 104, where the system has that number. */
export function errorCodeOf(errno: number): string {
  return getSystemErrorName(-errno);
}

/** The answer itself unless it is -errno, which throws. */
export function checked(syscall: string, answer: number, subject = ''): number {
  if (answer < 0) throw systemError(syscall, answer, subject);
  return answer;
}

const REPORT_PLACES_MIN = 6;

/** A walk's report: the addon writes its first places without looking, and turns the base's halves into integers. */
export function checkReport(report: Float64Array): void {
  if (!(report instanceof Float64Array) || report.length < REPORT_PLACES_MIN)
    throw new TypeError('expected a Float64Array of a walk');
}
