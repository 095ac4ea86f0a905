// A stateful application of Kafka Streams with exactly-once processing.
//
//   words   PREFIX-lines ─► words ─► repartitioned ─► counted ─► PREFIX-counts: "WORD COUNT", a record for each step of a count
//   join    PREFIX-left ⋈ PREFIX-right, by key, within a day ─► PREFIX-pairs: "LEFT|RIGHT"
//
// Arguments: bootstrap, application id, group protocol, what of the two, prefix of its topics, state directory, threads. Says its
// states, one a line; ends in order when its input is closed.

import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;

public final class StreamsApp {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        settings.put(StreamsConfig.GROUP_PROTOCOL_CONFIG, args[2]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, args[5]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.parseInt(args[6]));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        // Each step of a count comes out, so that a step that is lost or done twice is seen.
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.APPLICATION_SERVER_CONFIG, "localhost:" + (1000 + Math.abs(args[5].hashCode() % 10_000)));
        settings.put("reconnect.backoff.max.ms", 500);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        if (args[2].equals("classic")) {
            settings.put(StreamsConfig.NUM_STANDBY_REPLICAS_CONFIG, 1);
            settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 6_000);
        }

        StreamsBuilder builder = new StreamsBuilder();
        if (args[3].equals("words")) words(builder, args[4]);
        else join(builder, args[4]);
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(failure -> {
            System.err.println("a thread ended: " + failure);
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        CountDownLatch over = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            System.out.println(now);
            if (now == KafkaStreams.State.NOT_RUNNING || now == KafkaStreams.State.ERROR) over.countDown();
        });
        streams.start();
        Thread reader = new Thread(() -> {
            try {
                while (System.in.read() >= 0) Thread.onSpinWait();
            } catch (java.io.IOException ignored) {
                // Closed as well.
            }
            streams.close(Duration.ofSeconds(60));
            over.countDown();
        });
        reader.setDaemon(true);
        reader.start();
        over.await();
        System.exit(0);
    }

    private static void words(StreamsBuilder builder, String prefix) {
        KStream<String, String> lines = builder.stream(prefix + "-lines");
        lines.flatMapValues(line -> Arrays.asList(line.toLowerCase().split("[^a-z]+")))
            .filter((key, word) -> !word.isEmpty())
            .groupBy((key, word) -> word)
            .count(Materialized.as("counts"))
            .toStream()
            .mapValues((word, count) -> word + " " + count)
            .to(prefix + "-counts");
    }

    private static void join(StreamsBuilder builder, String prefix) {
        KStream<String, String> left = builder.stream(prefix + "-left");
        KStream<String, String> right = builder.stream(prefix + "-right");
        // The records are years old, and their days come in any order.
        JoinWindows day = JoinWindows.ofTimeDifferenceAndGrace(Duration.ofDays(1), Duration.ofDays(20 * 365));
        left.join(right, (one, other) -> one + "|" + other, day).to(prefix + "-pairs");
    }
}
