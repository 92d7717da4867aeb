// A consumer in a process of its own, to be killed: node limits-child.ts <json>. Says "holding" when it holds a delivery for good.
import { wire } from '../consumer/wiring.ts'

const { url, queue } = JSON.parse(process.argv[2]!)
await wire(url, { relay: false })
  .consumer(queue, { concurrency: 2, batchSize: 1 })
  .otherwise(() => {
    console.log('holding')
    return new Promise(() => {})
  })
  .start()
