import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.CRC32;

/** An HTTP service as many are: a pool of threads, work for the compiler and the collector, files below /data. */
public final class Service {
    private static final ExecutorService POOL = Executors.newFixedThreadPool(8);

    public static void main(String[] args) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 8080), 0);
        server.setExecutor(POOL);
        server.createContext("/work", exchange -> answer(exchange, work()));
        server.createContext("/store", exchange -> answer(exchange, store(exchange.getRequestURI().getQuery())));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("stopped")));
        server.start();
        System.out.println("ready");
    }

    private static String work() {
        try (AutoCloseable none = () -> { }) {
            ExecutorService own = Executors.newFixedThreadPool(4);
            List<Future<Long>> parts = new ArrayList<>();
            for (int part = 0; part < 4; part++) {
                final int seed = part;
                parts.add(own.submit(() -> {
                    CRC32 sum = new CRC32();
                    for (int round = 0; round < 2000; round++) {
                        sum.update(new byte[1024 + (round + seed) % 64]);
                    }
                    return sum.getValue();
                }));
            }
            long all = 0;
            for (Future<Long> part : parts) {
                all ^= part.get();
            }
            own.shutdown();
            return "work " + (all != 0);
        } catch (Exception error) {
            return "failed " + error;
        }
    }

    private static String store(String text) {
        try {
            Path temporary = Files.createTempFile(Paths.get("/data"), "new", ".txt");
            Files.writeString(temporary, String.valueOf(text));
            Path kept = Paths.get("/data/kept.txt");
            Files.move(temporary, kept, java.nio.file.StandardCopyOption.ATOMIC_MOVE);
            return "kept " + Files.readString(kept);
        } catch (Exception error) {
            return "failed " + error;
        }
    }

    private static void answer(HttpExchange exchange, String text) throws java.io.IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(200, body.length);
        try (OutputStream out = exchange.getResponseBody()) {
            out.write(body);
        }
    }
}
