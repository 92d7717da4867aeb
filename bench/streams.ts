import type { Workload } from './stand/workload.ts'
import { streamEffect } from './streams/effect.ts'
import { streamHeld } from './streams/held.ts'
import { streamMemory } from './streams/memory.ts'
import { streamPublish } from './streams/publish-ten.ts'
import { streamRead } from './streams/read.ts'
import { streamScan } from './streams/scan.ts'
import { sensors } from './streams/sensors.ts'
import { streamWal } from './streams/wal.ts'

/** The second kind of queue: how fast it reads, and what its readers cost those who publish. */
export const streams: readonly Workload[] = [
  streamRead,
  streamEffect,
  streamPublish,
  streamWal,
  streamMemory,
  streamScan,
  streamHeld,
  sensors,
]
