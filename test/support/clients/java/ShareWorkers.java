// Members of a share group with Apache Kafka's Java client: ShareWorkers BOOTSTRAP TOPIC GROUP MEMBERS LOG [SESSIONS]
// Lines of the log, flushed one by one: "D partition offset count" when a record came, "A partition offset" when its acceptance
// was confirmed. A tenth of all first deliveries is released. Ends when standard input does, or is killed.

import java.io.FileWriter;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class ShareWorkers {
    static FileWriter log;
    static volatile boolean stopped = false;

    static synchronized void say(String line) {
        try {
            log.write(line + "\n");
            log.flush();
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    public static void main(String[] args) throws Exception {
        log = new FileWriter(args[4], true);
        List<Thread> members = new ArrayList<>();
        for (int member = 0; member < Integer.parseInt(args[3]); member++) {
            Thread thread = new Thread(() -> work(args[0], args[1], args[2]));
            members.add(thread);
            thread.start();
        }
        while (System.in.read() >= 0) { }
        stopped = true;
        for (Thread thread : members) thread.join();
    }

    static void work(String bootstrap, String topic, String group) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("share.acknowledgement.mode", "explicit");
        settings.put("max.poll.records", "50");
        settings.put("request.timeout.ms", "10000");
        settings.put("reconnect.backoff.max.ms", "200");
        try (KafkaShareConsumer<byte[], byte[]> consumer =
                new KafkaShareConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (!stopped) {
                try {
                    turn(consumer);
                } catch (KafkaException | IllegalStateException error) {
                    say("E " + error.toString().replaceAll("\\s+", " "));
                }
            }
        }
    }

    static void turn(KafkaShareConsumer<byte[], byte[]> consumer) {
        Map<Integer, List<Long>> accepted = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> one : consumer.poll(Duration.ofMillis(200))) {
            int count = one.deliveryCount().orElse((short) 0);
            say("D " + one.partition() + " " + one.offset() + " " + count);
            if (count == 1 && one.offset() % 10 == 3) consumer.acknowledge(one, AcknowledgeType.RELEASE);
            else {
                consumer.acknowledge(one, AcknowledgeType.ACCEPT);
                accepted.computeIfAbsent(one.partition(), (at) -> new ArrayList<>()).add(one.offset());
            }
        }
        for (Map.Entry<TopicIdPartition, Optional<KafkaException>> one : consumer.commitSync().entrySet()) {
            if (one.getValue().isPresent()) {
                say("E " + one.getValue().get().toString().replaceAll("\\s+", " "));
                continue;
            }
            int partition = one.getKey().partition();
            for (long offset : accepted.getOrDefault(partition, List.of())) say("A " + partition + " " + offset);
        }
    }
}
