// Writes and reads record batches with Apache Kafka's own classes.
//
//   write DIR         makes one batch per codec and shape: DIR/<codec>-<shape>.bin and .txt (what it holds)
//   read FILE...      prints what each file's batch holds, in the form of the .txt files
//
// Form: one line for the batch, one a record; bytes in hex, "-" for null, headers as name=value in hex.

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Random;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;

public class RecordsTool {
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static final long TIME = 1_700_000_000_000L;

    public static void main(String[] args) throws Exception {
        if (args[0].equals("write")) {
            for (int codec = 0; codec < CODECS.length; codec++) {
                save(args[1], codec, "shapes", shapes(codec));
                save(args[1], codec, "many", many(codec));
            }
            save(args[1], 0, "marker", MemoryRecords.withEndTransactionMarker(77L, TIME, 5, 4000L, (short) 3,
                new EndTransactionMarker(ControlRecordType.COMMIT, 9)).buffer());
        } else {
            for (int i = 1; i < args.length; i++) {
                System.out.println("file " + Path.of(args[i]).getFileName());
                System.out.print(describe(ByteBuffer.wrap(Files.readAllBytes(Path.of(args[i])))));
            }
        }
    }

    static MemoryRecordsBuilder builder(int codec, long baseOffset, long producerId, short epoch, int sequence,
                                        boolean transactional) {
        return MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2,
            Compression.of(CODECS[codec]).build(), TimestampType.CREATE_TIME, baseOffset, RecordBatch.NO_TIMESTAMP,
            producerId, epoch, sequence, transactional, 12);
    }

    // Null, empty and odd fields.
    static ByteBuffer shapes(int codec) {
        MemoryRecordsBuilder b = builder(codec, 1000, 4000, (short) 3, 17, true);
        b.append(TIME, bytes("key"), bytes("value"));
        b.append(TIME + 5, null, bytes("no key"));
        b.append(TIME - 7, bytes("no value"), null);
        b.append(TIME + 9, null, (byte[]) null);
        b.append(TIME + 9, new byte[0], new byte[0]);
        b.append(TIME + 100_000_000L, bytes("headers"), bytes("v"), new Header[] {
            new RecordHeader("one", bytes("1")), new RecordHeader("", new byte[0]),
            new RecordHeader("nothing", null), new RecordHeader("\u00fcml\u00e4ut \u20ac", new byte[300])});
        b.append(TIME, bytes("long"), new byte[70_000]);
        return b.build().buffer();
    }

    // Many records, past the block sizes of snappy and lz4.
    static ByteBuffer many(int codec) {
        MemoryRecordsBuilder b = builder(codec, 0, -1, (short) -1, -1, false);
        Random random = new Random(42);
        for (int i = 0; i < 700; i++) {
            byte[] value = new byte[random.nextInt(300)];
            byte letter = 0;
            for (int k = 0; k < value.length; k++) {
                if (k % 12 == 0) letter = (byte) ('a' + random.nextInt(26));
                value[k] = letter;
            }
            b.append(TIME + i, bytes("key-" + i % 13), value);
        }
        return b.build().buffer();
    }

    static void save(String dir, int codec, String shape, ByteBuffer batch) throws Exception {
        byte[] raw = new byte[batch.remaining()];
        batch.duplicate().get(raw);
        Files.write(Path.of(dir, CODECS[codec] + "-" + shape + ".bin"), raw);
        if (codec == 0) Files.writeString(Path.of(dir, shape + ".txt"), describe(ByteBuffer.wrap(raw)));
    }

    static String describe(ByteBuffer buffer) {
        StringBuilder out = new StringBuilder();
        for (MutableRecordBatch batch : MemoryRecords.readableRecords(buffer).batches()) {
            batch.ensureValid();
            out.append("batch ").append(batch.baseOffset()).append(' ').append(batch.lastOffset()).append(' ')
                .append(batch.partitionLeaderEpoch()).append(' ').append(batch.maxTimestamp()).append(' ')
                .append(batch.producerId()).append(' ').append(batch.producerEpoch()).append(' ')
                .append(batch.baseSequence()).append(' ').append(batch.isTransactional()).append(' ')
                .append(batch.isControlBatch()).append(' ').append(batch.countOrNull()).append('\n');
            for (org.apache.kafka.common.record.internal.Record record : batch) {
                out.append(record.offset()).append(' ').append(record.timestamp()).append(' ')
                    .append(hex(record.key())).append(' ').append(hex(record.value()));
                for (Header header : record.headers()) {
                    out.append(' ').append(hex(ByteBuffer.wrap(bytes(header.key())))).append('=')
                        .append(hex(header.value() == null ? null : ByteBuffer.wrap(header.value())));
                }
                if (batch.isControlBatch()) out.append(" marker ").append(ControlRecordType.parse(record.key()));
                out.append('\n');
            }
        }
        return out.toString();
    }

    static String hex(ByteBuffer bytes) {
        if (bytes == null) return "-";
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        return copy.length == 0 ? "''" : copy.length <= 64 ? HexFormat.of().formatHex(copy) : digest(copy);
    }

    // Long fields as "length:first 8 bytes:sum of bytes times their place".
    static String digest(byte[] bytes) {
        long sum = 0;
        for (int i = 0; i < bytes.length; i++) sum = (sum + (bytes[i] & 0xff) * (long) (i % 251 + 1)) % 1_000_000_007L;
        return bytes.length + ":" + HexFormat.of().formatHex(bytes, 0, 8) + ":" + sum;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
