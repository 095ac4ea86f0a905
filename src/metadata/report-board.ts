/**
 * CONTRACT of a board on which brokers of a cluster leave reports for whoever leads: one small value a node, the newest in place of
 * the last. Nothing is promised of it but that what is read was posted: it may be old, and of a broker that is gone. Main thread.
 *
 * Errors are those of the authority (unavailable): a report is late then, and nothing else is harmed.
 */
export interface ReportBoard {
  post(node: number, report: Uint8Array): Promise<void>;
  /** By node id. */
  read(): Promise<ReadonlyMap<number, Uint8Array>>;
  /** Of a node that is forgotten. */
  remove(node: number): Promise<void>;
}
