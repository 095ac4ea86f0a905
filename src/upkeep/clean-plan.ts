/**
 * What a pass of log compaction takes of a stream: its parts from the log start to the first part that reaches the cleanable end.
 * Pure. The cleanable end is the last stable offset as of the end of what objects hold, never more: what the write-ahead log holds
 * is not looked at, and what belongs to an open transaction may still be aborted.
 *
 *   manifest's objects ─────┐ image's ranges ──────┐
 *   [ 0–50 ][ 50–90 ]       │ [ 90–120 ][ 120–130 ]│
 *   └ sources ──────────────┴─────────┘ └ behind ──┘        cleanEnd = 110: the next manifest ends at 120
 */

import type { StoredPart } from '../stream/clean/clean-policy.ts';
import type { CleanSource } from '../stream/clean/clean-task.ts';
import type { ManifestObject } from '../stream/manifest/manifest.ts';
import type { StreamView } from '../stream/manifest/manifest-writer.ts';

/** End of what objects hold of a stream without a hole. */
export function contiguousEnd({ manifest, ranges, startOffset }: StreamView): number {
  let reached = Math.max(manifest.endOffset, startOffset);
  for (const range of ranges) {
    if (range.endOffset <= reached) continue;
    if (range.baseOffset > reached) break;
    reached = range.endOffset;
  }
  return reached;
}

/** Parts of the stream from its log start to `end`, ascending. */
export function partsOf(
  { manifest, ranges, startOffset }: StreamView,
  end: number,
): (StoredPart & { readonly objectId: string })[] {
  const parts = [...manifest.objects, ...ranges.filter((range) => range.endOffset > manifest.endOffset)];
  return parts.filter((part) => part.endOffset > startOffset && part.baseOffset < end);
}

export interface CleanSelection {
  readonly sources: readonly CleanSource[];
  readonly behind: readonly CleanSource[];
  /** Objects of the manifest behind the sources: they stay as they are. */
  readonly rest: readonly ManifestObject[];
  /** Of the manifest that the pass leads to. */
  readonly endOffset: number;
  /** Of the stream in the sources. */
  readonly bytes: number;
}

/**
 * @param sizeOf an object's size as the image says; undefined = it is gone from there meanwhile.
 * @returns null when the view is out of date.
 */
export function selectSources(
  view: StreamView,
  cleanEnd: number,
  sizeOf: (objectId: string) => number | undefined,
): CleanSelection | null {
  const { manifest, startOffset } = view;
  const sources: CleanSource[] = [];
  const behind: CleanSource[] = [];
  const rest: ManifestObject[] = [];
  let { endOffset } = manifest;
  let sum = 0;
  for (const object of manifest.objects) {
    if (object.endOffset <= startOffset) continue;
    const { objectId, size, baseOffset, endOffset: end, bytes } = object;
    const source = { objectId, size, baseOffset, endOffset: end };
    if (baseOffset < cleanEnd) {
      sources.push(source);
      sum += bytes;
    } else {
      rest.push(object);
      behind.push(source);
    }
  }
  const contiguous = contiguousEnd(view);
  for (const { objectId, baseOffset, endOffset: end, bytes } of view.ranges) {
    if (end <= manifest.endOffset || end <= startOffset || end > contiguous) continue;
    const size = sizeOf(objectId);
    if (size === undefined) return null;
    const source = { objectId, size, baseOffset, endOffset: end };
    if (baseOffset >= cleanEnd) {
      behind.push(source);
      continue;
    }
    sources.push(source);
    sum += bytes;
    endOffset = end;
  }
  return sources.length === 0 ? null : { sources, behind, rest, endOffset, bytes: sum };
}
