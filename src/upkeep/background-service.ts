/** A service beside the data path, as its broker starts and stops it. */
export interface BackgroundService {
  start(): void;
  /** Resolves when no pass is under way; none begins after it. */
  stop(): Promise<void>;
}
